#!/usr/bin/env bash
# Fuzzes the whole API, 10,000 requests or more: with requests that schemathesis makes of openapi.yaml and with damaged
# photos of every format. Prints a table, and fails where an answer is not what openapi.yaml says, is a 5xx but 503 and 504,
# where a process dies, or where memory grows beyond its bound. test/faults/fuzz.test.ts is the same in small.
# usage: bench/fuzz.sh; FUZZ_EXAMPLES (for each operation), FUZZ_IMAGES and FUZZ_SEED in the environment set others
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZ_EXAMPLES=${FUZZ_EXAMPLES:-2000} FUZZ_IMAGES=${FUZZ_IMAGES:-6000} FUZZ_SEED=${FUZZ_SEED:-$RANDOM}
export REQUIRE_ALL_TESTS=1 FUZZ_TABLE
FUZZ_TABLE=$(mktemp)
trap 'rm -f "$FUZZ_TABLE"' EXIT
npm run --silent test:servers
npm run --silent test:unit -- test/faults/fuzz
echo "Seed $FUZZ_SEED, $(nproc) cores of $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1)"
echo '| fuzzed with | requests | status: answers | MB before, server + inference | MB after |'
echo '|---|---|---|---|---|'
cat "$FUZZ_TABLE"
