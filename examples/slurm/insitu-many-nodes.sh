#!/usr/bin/env bash
# The simulation on all nodes but for the last rank of each, which gives its core to the inference of its node's frames.
#   sbatch examples/slurm/insitu-many-nodes.sh [CONFIG.yaml [DIR [key=value ...]]]
#SBATCH --job-name=cdi-insitu
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=32
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.out
set -euo pipefail
cd "${CDI_HOME:-$SLURM_SUBMIT_DIR}"
config=${1:-examples/insitu.yaml} output=${2:-runs/insitu-$SLURM_JOB_ID}
shift $(($# < 2 ? $# : 2))

export OMP_NUM_THREADS=1
.venv/bin/mpiexec -n "$SLURM_NTASKS" -ppn "$SLURM_NTASKS_PER_NODE" \
  .venv/bin/cdi insitu run "$@" --config "$config" --output "$output"
.venv/bin/cdi insitu books "$output"
