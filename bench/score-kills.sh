#!/usr/bin/env bash
# The tests that kill runs of `npm run score` at full size, five minutes or more: a run alone, and one with three workers
# at a queue, two of which are killed. They fail unless the bytes are those of an unbroken run. Needs `npm run test:servers`.
# usage: bench/score-kills.sh; SCORE_PHOTOS and SCORE_KILLS in the environment set other sizes
set -euo pipefail
cd "$(dirname "$0")/.."
export REQUIRE_ALL_TESTS=1 SCORE_PHOTOS=${SCORE_PHOTOS:-2000} SCORE_KILLS=${SCORE_KILLS:-25}
npm run test:unit -- --runInBand test/batch/kills.test.ts test/batch/queue/queue.test.ts
