#!/usr/bin/env bash
# A running query moves: LAMMPS with the network beside it, answered by a stream engine for a while, then beside it again.
# Installs what is missing, starts everything (on loopback, the log behind a password made for the run), ends everything.
# Usage: scripts/transit_demo.sh VENV OUT [flink|spark]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 bin=$1/bin out=$2 engine=${3:-flink}
run=$out/run
started=()

end_all() {
  trap - EXIT INT TERM
  for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap end_all EXIT
trap 'echo "transit-demo: interrupted, ending everything" >&2; exit 130' INT
trap 'exit 143' TERM

fail() {
  echo "transit-demo: $1" >&2
  exit 1
}

lives() { kill -0 "$1" 2>/dev/null; }

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds; what must live meanwhile are run and log.
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    lives "$simulation" || fail "the simulation has ended before $what; give it more steps: load.steps in examples/insitu-transit.yaml"
    lives "$transit" || fail "log and engine have ended before $what, see above and $run/transit/engine.log"
    [ "$SECONDS" -lt "$end" ] || fail "$what did not come within $1 s"
    sleep 0.5
  done
}

engine_runs() { grep -q '"event": "engine_running"' "$run/events-transit.jsonl" 2>/dev/null; }
answered_in_transit() { [ "$(cat "$run"/transit-*.csv 2>/dev/null | wc -l)" -gt "$1" ]; }
answered_in_situ() { [ "$(grep -c ',inferred,' "$run/ledger-0.csv" 2>/dev/null || true)" -gt "$1" ]; }

if ! PATH=$PATH:/usr/bin:/usr/sbin command -v redis-server >/dev/null; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "redis-server is needed; on Debian or Ubuntu: apt-get install redis-server"
  apt-get update -qq && apt-get install -y -qq redis-server
fi
"${CDI_ENGINES:-.engines}/$engine/bin/python" -c "import inference_insitu, py$engine" 2>/dev/null || bash scripts/engines.sh "$venv" "$engine"

rm -rf "$run"
mkdir -p "$out"
echo "== LAMMPS with the network beside it"
"$bin/cdi" insitu run --config examples/insitu-transit.yaml --output "$run" &
simulation=$!
started+=("$simulation")
"$bin/cdi" insitu transit "$run" engine="$engine" 'conditions={material: Cu, temperature_K: 10.0}' &
transit=$!
started+=("$transit")

echo "== in situ, while the engine starts"
wait_for 600 "the engine" engine_runs
wait_for 120 "an answer in situ" answered_in_situ 5
echo "== to the engine, while LAMMPS goes on"
"$bin/cdi" insitu migrate "$run" in_transit --timeout-s 120
wait_for 300 "twenty answers in transit" answered_in_transit 20
echo "== and back"
"$bin/cdi" insitu migrate "$run" in_situ --timeout-s 120

echo "== in situ, to the end"
wait "$simulation" || fail "the simulation has failed"
wait "$transit" || fail "log and engine have not ended in order"
started=()
"$bin/cdi" insitu books "$run"
"$bin/cdi" insitu report "$run"
