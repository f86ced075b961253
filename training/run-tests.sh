#!/usr/bin/env bash
# Lints, type-checks and tests the training half in training/.venv, which install.sh makes.
# Arguments go to pytest; without any, all tests run, a process for each core.
set -euo pipefail
cd "$(dirname "$0")"

bash install.sh
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
if (($# == 0)); then
  export OMP_NUM_THREADS=1
  set -- --numprocesses logical --dist loadfile
fi
pytest "$@"
