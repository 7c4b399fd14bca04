#!/usr/bin/env bash
# The main job, end to end: crystal → pattern → data set → evaluation → inference beside a running LAMMPS.
# A step whose result is there is skipped; delete the output directory to run it all again.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1 out=$2
mkdir -p "$out"

step() { # step RESULT TITLE COMMAND...
  local result=$1 title=$2
  shift 2
  if [ -e "$result" ]; then
    echo "== $title: done before ($result)"
  else
    echo "== $title"
    "$@"
  fi
}

step "$out/crystal.h5" "A copper crystal with an edge dislocation, its (111) pattern from every atom" \
  "$bin/cdi" simulate --element Cu --crystal-shape truncated-octahedron --diameter-A 120 --defect edge \
  --reflection 1 1 1 --shape 32 --oversampling 2.8 --peak-counts 1e5 --seed 1 --output "$out/crystal.h5"
step "$out/crystal-prediction.png" "What the network says of it" \
  "$bin/cdi" predict "$out/crystal.h5" --picture "$out/crystal-prediction.png"
step "$out/dataset/dataset.h5" "A data set of crystals with their truth" \
  "$bin/cdi" generate examples/recipes/demo.yaml --output "$out/dataset" --processes 2
step "$out/evaluation/report.html" "The network on that data set" \
  "$bin/cdi" evaluate --dataset "$out/dataset" --workers 1 --output "$out/evaluation"
step "$out/insitu/summary.json" "Inference beside LAMMPS: a copper nanoparticle compressed until it yields" \
  "$bin/cdi" insitu run --config examples/insitu.yaml --output "$out/insitu"
echo
echo "Results in $out: crystal.png, crystal-prediction.png, evaluation/report.html, insitu/"
ls "$out/insitu"
