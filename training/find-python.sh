# For install scripts: `find_python` prints a Python 3.11 or 3.12 that can make environments.
find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3; do
    # On Debian, venv is there without what it needs.
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "Python 3.11 or 3.12 with venv (on Debian a package of its own) is needed on the PATH, and there is neither." >&2
  return 1
}
