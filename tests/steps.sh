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

if [ -n "$full" ]; then
    step "simulator, 1000 seeds of 50 nodes, 200 apps" build/unimesh-sim --seed 1 --count 1000 --nodes 50 --apps 200 --jobs 2
    step "simulator, 10 seeds of 500 nodes" build/unimesh-sim --seed 1 --count 10 --nodes 500 --apps 200 --jobs 2
else
    step "simulator, 100 seeds of 50 nodes, 200 apps" build/unimesh-sim --seed 1 --count 100 --nodes 50 --apps 200 --jobs 2
fi
step "simulator, 300 seeds of 10 nodes" build/unimesh-sim --seed 10000 --count 300 --nodes 10 --apps 20 --jobs 2
step "simulator, 300 seeds of 3 nodes" build/unimesh-sim --seed 20000 --count 300 --nodes 3 --apps 8 --jobs 2
step "simulator, seeds that showed something" build/unimesh-sim --list tests/sim/seeds
step "simulator, 20 seeds, sanitizers" build-asan/unimesh-sim --seed 1 --count 20 --nodes 50 --apps 200 --jobs 2
step "simulator, every planted bug is found" build/unimesh-sim --find-bugs --nodes 10 --apps 20 --jobs 2
step "simulator, a seed twice" build/unimesh-sim --seed 3 --count 2 --nodes 20 --apps 50 --twice
step "quickstart" scripts/quickstart
for test in operator guests stops overtaken hosts acknowledged input full damage strangers discover twin lookup late helperless solo5 devices nets addresses access bridges volumes escape faults users units; do
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
