# The steps of scripts/test beyond building and unit tests, in order. `step NAME COMMAND…`; $full: --full was given.
step "simulator, 40 seeds" build/unimesh-sim --seed 1000 --count 40 --nodes 10 --apps 20
