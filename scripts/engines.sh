#!/usr/bin/env bash
# Makes the environments of the stream engines, .engines/flink and .engines/spark, each with the program in it: their pins
# and ours do not go together. What an answer is computed with has the same version as in our own environment.
# Usage: scripts/engines.sh VENV [flink] [spark]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
shift
home=${CDI_ENGINES:-.engines}

java_here() {
  [ -x "${JAVA_HOME:-/nowhere}/bin/java" ] || PATH="$PATH:/usr/bin" command -v java >/dev/null
}

if ! java_here; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless
  else
    echo "engines: Java 17 or newer is needed and none was found; on Debian or Ubuntu: apt-get install openjdk-17-jre-headless" >&2
    exit 1
  fi
fi

# PyFlink has no build for a python newer than 3.12.
version=$("$venv/bin/python" -c 'import sys; print(sys.version_info[1])')
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
grep -E '^(torch|torchvision|triton|scipy|h5py|safetensors|jsonargparse|lightning|scikit-learn|xraydb|finufft|ase)==' constraints.txt >"$pins"

make_engine() { # make_engine NAME REQUIREMENT...
  local python="$home/$1/bin/python" name=$1 started=$SECONDS
  shift
  if [ "$name" = flink ] && [ "$version" -gt 12 ]; then
    echo "engines: flink needs Python 3.11 or 3.12, $venv has 3.$version; leaving it out" >&2
    return
  fi
  [ -x "$python" ] || "$venv/bin/python" -m venv "$home/$name"
  if ! { [ -x "$venv/bin/uv" ] && "$venv/bin/uv" pip install --python "$python" -c "$pins" "$@" -e '.[transit]'; }; then
    echo "engines: uv did not install the packages; trying pip" >&2
    "$python" -m pip install --disable-pip-version-check -c "$pins" "$@" -e '.[transit]'
  fi
  echo "engines: $name is in $home/$name: $((SECONDS - started)) s, $(du -sh "$home/$name" | cut -f1)," \
    "of which torch and CUDA $(du -shc "$home/$name"/lib/python*/site-packages/{torch,nvidia,triton} 2>/dev/null | tail -1 | cut -f1)"
}

for name in "${@:-flink spark}"; do
  for one in $name; do
    case $one in
      flink) make_engine flink apache-flink==2.3.0 ;;
      spark) make_engine spark pyspark==4.3.0 pandas==2.3.3 pyarrow==26.0.1 ;;
      *) echo "engines: flink and spark are known, got $one" >&2 && exit 1 ;;
    esac
  done
done
