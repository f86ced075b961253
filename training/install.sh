#!/usr/bin/env bash
# Makes the training half's Python environment, training/.venv, or brings it up to date when requirements.lock has
# changed. Needs Python 3.11 or 3.12 with its venv module.
set -euo pipefail
cd "$(dirname "$0")"

UV_VERSION=0.13.9
INSTALLED_LOCK=.venv/requirements.lock

source find-python.sh

if ! cmp -s requirements.lock "$INSTALLED_LOCK"; then
  echo "Installing requirements.lock into training/.venv (about 6 GB on Linux at first, most of it CUDA)"
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || { echo "The server's tests run without Python: npm run test:unit" >&2; exit 1; }
    "$python" -m venv --clear .venv
  fi
  .venv/bin/python -m pip install --quiet "uv==$UV_VERSION"
  VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --require-hashes -r requirements.lock
  VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
  cp requirements.lock "$INSTALLED_LOCK"
fi
