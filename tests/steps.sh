# The steps of scripts/test beyond building and unit tests, in order. `step NAME COMMAND…`; $full: --full was given.

# integration NAME ARGUMENT…: one of tests/integration; what can't run here counts as skipped
integration() {
    local name=$1 status
    shift
    "tests/integration/$name" "$@"
    status=$?
    [ $status = 77 ] && return 0
    return $status
}
sanitized() { MESHD=$ROOT/build-asan/meshd MESHCTL=$ROOT/build-asan/meshctl integration "$@"; }

step "simulator, 40 seeds" build/unimesh-sim --seed 1000 --count 40 --nodes 10 --apps 20
step "quickstart" scripts/quickstart
for test in operator guests stops overtaken hosts acknowledged input full damage strangers discover solo5; do
    step "integration: $test" integration $test
done
step "integration: restart, 100 kills" integration restart
for test in guests stops acknowledged input; do
    step "integration, sanitizers: $test" sanitized $test
done
step "bench failover" scripts/bench failover --kills "$([ -n "$full" ] && echo 100 || echo 20)"
step "fuzz, 60 s each" scripts/fuzz 60
step "coverage of the cores" coverage
step "distcheck" distcheck
