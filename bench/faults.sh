#!/usr/bin/env bash
# The tests of test/faults at full size, an hour or more: inference processes killed under load, and a soak with what
# clients do right and wrong. They fail on a wrong or lost answer, or where memory grows beyond its bound.
# usage: bench/faults.sh; KILLS and SOAK_ROUNDS in the environment set other sizes
set -euo pipefail
cd "$(dirname "$0")/.."
export KILLS=${KILLS:-50} SOAK_ROUNDS=${SOAK_ROUNDS:-5000}
npm run test:unit -- --runInBand test/faults
