#!/usr/bin/env bash
# Makes the training half's Python environment, training/.venv, or brings it up to date when requirements.lock has
# changed. Needs Python 3.11 or 3.12 with its venv module.
set -euo pipefail
cd "$(dirname "$0")"

UV_VERSION=0.13.9
INSTALLED_LOCK=.venv/requirements.lock

find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3; do
    if "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "The training half needs Python 3.11 or 3.12 with venv on the PATH, and found neither." >&2
  echo "The server's tests run without Python: npm run test:unit" >&2
  return 1
}

if ! cmp -s requirements.lock "$INSTALLED_LOCK"; then
  echo "Installing requirements.lock into training/.venv (about 6 GB on Linux at first, most of it CUDA)"
  if [[ ! -x .venv/bin/python ]]; then
    python=$(find_python)
    "$python" -m venv .venv
  fi
  .venv/bin/python -m pip install --quiet "uv==$UV_VERSION"
  VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --require-hashes -r requirements.lock
  VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
  cp requirements.lock "$INSTALLED_LOCK"
fi
