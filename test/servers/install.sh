#!/usr/bin/env bash
# Makes test/servers/.venv from requirements.lock, or brings it up to date: the servers and tools that some tests run
# against. Needs Python 3.11 or 3.12 with its venv module. To lock anew:
#   uv pip compile requirements.in --generate-hashes --no-annotate --python-version 3.11 -o requirements.lock
set -euo pipefail
cd "$(dirname "$0")"
source ../../training/find-python.sh

if ! cmp -s requirements.lock .venv/requirements.lock; then
  echo 'Installing test/servers/requirements.lock into test/servers/.venv'
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    "$python" -m venv --clear .venv
  fi
  .venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock
  cp requirements.lock .venv/requirements.lock
fi
