# A mesh on this machine, for quickstart, tests and benchmarks. Source it after lib.sh; the caller sets WORK, a folder that
# is its own. Each node N has $WORK/N/{state,run,log,pid}; mesh_begin makes the key.
#
# A node is killed by what it owns: its meshd, that one's mesh-priv, and what runs in its run folder.

MESHD=${MESHD:-$ROOT/build/meshd}
MESHCTL=${MESHCTL:-$ROOT/build/meshctl}
MESH_NAMES=${MESH_NAMES:-attic barn cellar den garage hall kitchen loft porch shed}
declare -A MESH_PORT MESH_PID

mesh_begin() { # mesh_begin: the key, and a range of ports that nobody uses
    mkdir -p "$WORK" || return 1
    (umask 077; "$MESHCTL" keygen >"$WORK/mesh.key") || return 1
}

# free_port: one that nobody listens at now, UDP or TCP; below the range that the system gives away
free_port() {
    local p
    for _ in $(seq 200); do
        p=$((20000 + RANDOM % 10000))
        ss -Hltun "sport = :$p" | grep -q . || { printf '%d\n' "$p"; return 0; }
    done
    return 1
}

# wait_for SECONDS COMMAND…: until it succeeds. What it looks at has no event of its own to wait for.
wait_for() {
    local until=$(($(now_ms) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$until" ] || return 1
        sleep 0.02
    done
}

# node_start NAME [ARGUMENT…]: on loopback, joining those that are up; returns when its socket answers
node_start() {
    local name=$1 dir=$WORK/$1 join=() n
    shift
    mkdir -p "$dir"
    [ -n "${MESH_PORT[$name]:-}" ] || MESH_PORT[$name]=$(free_port) || return 1
    for n in "${!MESH_PORT[@]}"; do
        [ "$n" = "$name" ] || join+=(--join "127.0.0.1:${MESH_PORT[$n]}")
    done
    "$MESHD" --state "$dir/state" --run "$dir/run" --key-file "$WORK/mesh.key" --bind "127.0.0.1:${MESH_PORT[$name]}" \
        --name "$name" "${join[@]}" "$@" >>"$dir/log" 2>&1 &
    MESH_PID[$name]=$!
    disown
    wait_for 20 ctl "$name" members || { tail -n 5 "$dir/log" >&2; return 1; }
}

ctl() { # ctl NAME ARGUMENT…: meshctl at that node
    local name=$1
    shift
    "$MESHCTL" --socket "$WORK/$name/run/ctl.sock" "$@"
}

# alive NAME COUNT: does NAME see so many alive?
alive() { [ "$(ctl "$1" members -o json | jq '[.[] | select(.state == "alive")] | length')" = "$2" ]; }
state_of() { ctl "$1" members -o json | jq -r --arg n "$2" '.[] | select(.name == $n) | .state'; }
is_state() { [ "$(state_of "$1" "$2")" = "$3" ]; }
# running NAME APP COUNT: as NAME sees it
running() {
    [ "$(ctl "$1" ps -o json | jq --arg a "$2" '[.[] | select(.app == $a and .state == "running")] | length')" = "$3" ]
}
nodes_of() { ctl "$1" ps -o json | jq -r --arg a "$2" '.[] | select(.app == $a and .state == "running") | .node' | sort; }
has_targets() { [ "$(ctl "$1" members -o json | jq '[.[] | select(.targets | length > 0)] | length')" -ge "$2" ]; }

# guests_of NAME: the pids of all that runs in its run folder: shims and tenders
guests_of() {
    local p at
    for p in /proc/[0-9]*; do
        at=$(readlink "$p/cwd" 2>/dev/null) || continue
        case $at in "$WORK/$1/run/units/"*) printf '%s\n' "${p#/proc/}" ;; esac
    done
}

# host_kill NAME: as a power cut does it: node, helper, shims and guests, at once
host_kill() {
    local pid=${MESH_PID[$1]}
    # shellcheck disable=SC2046
    kill -9 "$pid" $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) $(guests_of "$1") 2>/dev/null
    unset "MESH_PID[$1]"
    return 0
}

daemon_kill() { # daemon_kill NAME: meshd alone; guests stay
    kill -9 "${MESH_PID[$1]}"
    unset "MESH_PID[$1]"
}

# cgroup_name NAME: of the folder that its guests' control groups are in
cgroup_name() { printf 'unimesh-%s-%x\n' "$(stat -c %D "$WORK/$1/run/units")" "$(stat -c %i "$WORK/$1/run/units")"; }
groups_end() { # groups_end NAME: as its next mesh-priv would
    local g
    [ -d "$WORK/$1/run/units" ] || return 0
    for g in $(find /sys/fs/cgroup -depth -type d -path "*/$(cgroup_name "$1")*" 2>/dev/null); do
        wait_for 2 rmdir "$g"
    done
}

mesh_end() { # everything that this shell started, and its guests
    local n
    for n in "${!MESH_PORT[@]}"; do
        [ -n "${MESH_PID[$n]:-}" ] && host_kill "$n"
        # shellcheck disable=SC2046
        kill -9 $(guests_of "$n") 2>/dev/null
        groups_end "$n"
    done
    return 0
}
