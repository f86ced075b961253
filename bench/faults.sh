#!/usr/bin/env bash
# The tests of test/faults at full size, twenty minutes: inference processes killed, servers ended, bundles broken and the
# wall clock set back and ahead under load; clients that are slow, stall and leave; full disks; a soak with what clients do
# right and wrong. They fail on a wrong or lost answer, or where memory grows beyond its bound. bench/fuzz.sh has the fuzzing.
# usage: bench/faults.sh; KILLS, ENDS, RELOADS, CLIENT_ROUNDS, CLOCK_SECONDS and SOAK_ROUNDS in the environment set other
# sizes
set -euo pipefail
cd "$(dirname "$0")/.."
export KILLS=${KILLS:-50} ENDS=${ENDS:-50} RELOADS=${RELOADS:-20}
export CLIENT_ROUNDS=${CLIENT_ROUNDS:-20} CLOCK_SECONDS=${CLOCK_SECONDS:-300} SOAK_ROUNDS=${SOAK_ROUNDS:-1000}
npm run test:unit -- --runInBand --testPathIgnorePatterns fuzz -- test/faults
