#!/usr/bin/env bash
# LAMMPS on most cores of a node, the network on the last: a copper nanoparticle compressed, read while it yields.
#   sbatch examples/slurm/insitu-one-node.sh [CONFIG.yaml [DIR [key=value ...]]]
#SBATCH --job-name=cdi-insitu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --output=%x-%j.out
set -euo pipefail
cd "${CDI_HOME:-$SLURM_SUBMIT_DIR}"
config=${1:-examples/insitu.yaml} output=${2:-runs/insitu-$SLURM_JOB_ID}
shift $(($# < 2 ? $# : 2))

export OMP_NUM_THREADS=1
.venv/bin/cdi doctor
.venv/bin/mpiexec -n "$SLURM_NTASKS" .venv/bin/cdi insitu run "$@" --config "$config" --output "$output"
.venv/bin/cdi insitu books "$output"
.venv/bin/cdi insitu report "$output"
