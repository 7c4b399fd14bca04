#!/usr/bin/env bash
# A coupled simulation with its stream log and a stream engine beside it; its frames can change places while it runs:
#   cdi insitu migrate DIR in_transit        (and in_situ, back)
# The log that is started here listens on this node alone, so all is on one. For many nodes name a Redis that all reach:
# log.host=… log.port=… log.password_file=…
#   sbatch examples/slurm/in-transit.sh [SIMULATION.py [DIR [key=value ...]]]      (key=value: of cdi insitu transit)
#SBATCH --job-name=cdi-in-transit
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=12
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --output=%x-%j.out
set -euo pipefail
cd "${CDI_HOME:-$SLURM_SUBMIT_DIR}"
simulation=${1:-examples/coupling/your_simulation.py} output=${2:-runs/in-transit-$SLURM_JOB_ID}
shift $(($# < 2 ? $# : 2))

export OMP_NUM_THREADS=1
# Four cores are left to the log and the engine (scripts/engines.sh made its environment before).
.venv/bin/mpiexec -n $((SLURM_NTASKS - 4)) .venv/bin/python -m mpi4py "$simulation" "$output" &
simulating=$!
.venv/bin/cdi insitu transit "$output" engine=flink "$@" &
serving=$!
.venv/bin/cdi insitu migrate "$output" in_transit
wait "$simulating"
wait "$serving"
.venv/bin/cdi insitu books "$output"
