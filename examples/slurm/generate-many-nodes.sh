#!/usr/bin/env bash
# A data set by the ranks of several nodes; each writes files of its own. Killed, the same job goes on.
#   sbatch examples/slurm/generate-many-nodes.sh [RECIPE.yaml [DIR [key=value ...]]]
#SBATCH --job-name=cdi-generate
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=32
#SBATCH --cpus-per-task=1
#SBATCH --time=02:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
set -euo pipefail
cd "${CDI_HOME:-$SLURM_SUBMIT_DIR}"
recipe=${1:-examples/recipes/crystals.yaml} output=${2:-output/crystals}
shift $(($# < 2 ? $# : 2))

export OMP_NUM_THREADS=1
# The launcher of the MPI that mpi4py was installed with; it starts its processes by srun where it runs under SLURM.
.venv/bin/mpiexec -n "$SLURM_NTASKS" .venv/bin/cdi generate "$recipe" samples=200000 "$@" --output "$output"
