# What the scripts share. Source it: . "$(dirname "$0")/lib.sh"
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD

PACKAGES="autoconf automake gcc make pkg-config libc6-dev libsodium-dev libnftables-dev libuv1-dev libmsgpack-dev liblmdb-dev
libcmocka-dev libcyaml-dev libyaml-dev libjansson-dev uthash-dev libsmartcols-dev qemu-system-x86 iproute2 jq"
PACKAGES_CHECKS="clang clang-tidy llvm libclang-rt-14-dev gcovr nftables systemd xz-utils bubblewrap"

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# missing_packages NAME…: those that are not installed
missing_packages() {
    local p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$p"
    done
}

# now_ms: milliseconds of a clock that only goes forward
now_ms() { awk '{printf "%d\n", $1 * 1000}' /proc/uptime; }
