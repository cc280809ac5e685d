# What tests of networks share: bridges, joined by a "switch" that we are on, too, as `peer`. Source it behind lib.sh, in a
# network namespace of the test's own.
PROBE=$ROOT/build/net-probe
bridge() { ip link add "$1" type bridge forward_delay 0 mcast_snooping 0 && ip link set "$1" up; }
wire() { # wire BRIDGE: to the switch
    ip link add "$1-sw" type veth peer name "sw-$1" && ip link set "$1-sw" master "$1" up && ip link set "sw-$1" master switch up
}
wires_make() {
    local address=$1 b
    shift
    bridge switch && ip link add port type veth peer name peer && ip link set port master switch up && ip link set peer up &&
        ip address add "$address" dev peer || return
    for b in "$@"; do bridge "$b" && wire "$b" || return; done
}
# wires_up ADDRESS BRIDGE…: ours on the switch, and the bridges on it; skips where that can't be
wires_up() {
    ip link set lo up
    ip tuntap add dev trial mode tap 2>"$WORK/why" || skip "no taps here: $(cat "$WORK/why")"
    ip tuntap del dev trial mode tap
    wires_make "$@" 2>"$WORK/why" || skip "no bridge here: $(cat "$WORK/why")"
}
taps() { ip -brief link show type tun 2>/dev/null | awk '$1 ~ /^um/' | wc -l; }
taps_are() { [ "$(taps)" = "$1" ]; }
taps_of() { ip -brief link show master "$1" 2>/dev/null | awk '$1 ~ /^um/ {print $1}'; }
mac_of() { ip neigh show "$1" dev peer | grep -oE '[0-9a-f]{2}(:[0-9a-f]{2}){5}'; }
answers() { ip neigh flush dev peer; "$PROBE" ping "$1"; }
networks_of() { ctl attic members -o json | jq -r --arg n "$1" '.[] | select(.name == $n) | .networks | join(",")'; }
has_networks() { [ "$(networks_of "$1")" = "$2" ]; }
