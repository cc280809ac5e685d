# What integration tests share. Source it first: . "$(dirname "$0")/lib.sh". Each test is a program of its own: real nodes, real
# guests, a folder and ports of its own; it ends with 0 if all its checks held, with 77 if it can't run here.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
WORK=$(mktemp -d /tmp/unimesh.XXXXXX) || exit 1
. scripts/mesh.sh
HELLO=$ROOT/build/examples/hello
KEEP_LOGS=${KEEP_LOGS:-}

ended() {
    local status=$? found
    found=$(grep -hE 'Sanitizer: |runtime error: |CHECK\(|check failed' "$WORK"/*/log 2>/dev/null | head -n 3)
    if [ $status = 0 ] && [ -n "$found" ]; then
        say "FAIL: a node's log says: $found"
        status=1
    fi
    type -t test_ended >/dev/null && test_ended
    if [ $status != 0 ] && [ $status != 77 ]; then
        local l
        for l in "$WORK"/*/log; do
            [ -e "$l" ] && { say "--- the last of $l:"; tail -n 15 "$l"; }
        done
        [ -z "$KEEP_LOGS" ] || { mkdir -p "$KEEP_LOGS" && cp -r "$WORK" "$KEEP_LOGS/"; }
    fi
    mesh_end
    rm -rf "$WORK"
    exit $status
}
trap ended EXIT
trap 'exit 1' INT TERM

fail() { say "FAIL: $*"; exit 1; }
skip() { say "skipped: $*"; exit 77; }
# check WHAT COMMAND…: it must succeed
check() {
    local what=$1
    shift
    "$@" || fail "$what"
    say "ok: $what"
}
# soon WHAT SECONDS COMMAND…: it must come true
soon() {
    local what=$1 seconds=$2
    shift 2
    wait_for "$seconds" "$@" || fail "$what (not within $seconds s)"
    say "ok: $what"
}
# refused WHAT STATUS PATTERN COMMAND…: it must end with that status, and say so on standard error
refused() {
    local what=$1 status=$2 pattern=$3 got text
    shift 3
    text=$("$@" 2>&1 >/dev/null)
    got=$?
    grep -qxE -- "$status" <<<"$got" || fail "$what: status $got instead of $status: $text"
    grep -qiE -- "$pattern" <<<"$text" || fail "$what: says «$text», which does not match $pattern"
    say "ok: $what: $text"
}

# mesh_up NAME…: these nodes, up and knowing each other, with a target each
mesh_up() {
    local n
    mesh_begin || fail "no key could be made"
    for n in "$@"; do
        # shellcheck disable=SC2086
        node_start "$n" --memory "${MEMORY:-256M}" ${NODE_ARGUMENTS:-} || fail "$n does not start"
    done
    for n in "$@"; do
        wait_for 30 alive "$n" $# || fail "$n does not see all $#"
    done
    wait_for 60 has_targets "$1" $# || fail "no host runs guests"
}

# unit FIELD NODE APP SLOT: of the one that runs, or of the first
unit() {
    ctl "$2" inspect "$3" -o json | jq -r --argjson s "$4" --arg f "$1" \
        '[.units[] | select(.slot == $s)] | sort_by(.state != "running") | .[0][$f]'
}
# instances APP NODE…: guests of the app that really run, by their shims' folders: one line each, "NODE FOLDER"
instances() {
    local uid n f
    uid=$(ctl "$2" inspect "$1" -o json | jq -r .uid)
    shift
    for n in "${!MESH_PORT[@]}"; do
        for f in "$WORK/$n/run/units/$uid."*; do
            [ -e "$f/sock" ] && lives "$f" && printf '%s %s\n' "$n" "$f"
        done
    done
}
# lives FOLDER: does anything run in it?
lives() {
    local p
    for p in /proc/[0-9]*; do
        [ "$(readlink "$p/cwd" 2>/dev/null)" = "$1" ] && return 0
    done
    return 1
}
one_instance() { [ "$(instances "$@" | wc -l)" = 1 ]; }
# The console's text, whole, without asking anybody: what is in the ring from byte 64 on.
console_text() { tail -c +65 "$1/console" | tr -d '\0'; }
