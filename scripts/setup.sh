#!/usr/bin/env bash
# Creates the virtual environment VENV and installs the program with its optional groups, as tested.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "setup: Python 3.11 to 3.14 is needed and none was found; on Debian or Ubuntu: apt-get install python3 python3-venv" >&2
  return 1
}

make_venv() {
  "$python" -m venv --clear "$venv" && return
  # Debian splits ensurepip into a package of its own.
  version=$("$python" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq "python$version-venv" && "$python" -m venv --clear "$venv" && return
  fi
  echo "setup: python$version cannot make a virtual environment; on Debian or Ubuntu: apt-get install python$version-venv" >&2
  return 1
}

python=$(find_python)
[ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null || make_venv
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_venv

groups='.[md,dxa,fast,sst,transit,view,notebooks,site,dev]'
# uv installs several times faster than pip. It does not know pip's own settings (a local mirror, say),
# so pip has the last word.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt uv || true
if ! { [ -x "$venv/bin/uv" ] && "$venv/bin/uv" pip install --python "$venv/bin/python" -c constraints.txt -e "$groups"; }; then
  echo "setup: uv did not install the packages; trying pip" >&2
  "$venv/bin/python" -m pip install --disable-pip-version-check -c constraints.txt -e "$groups"
fi

# The stream log's server; all else works without it. RUNLEVEL keeps the package from starting a server of the system's.
if ! PATH="$PATH:/usr/bin:/usr/sbin" command -v redis-server >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq redis-server) ||
      echo "setup: redis-server was not installed; in-transit runs need it: apt-get install redis-server" >&2
  else
    echo "setup: in-transit runs need redis-server; on Debian or Ubuntu: apt-get install redis-server" >&2
  fi
fi
