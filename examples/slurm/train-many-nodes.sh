#!/usr/bin/env bash
# Training on all GPUs of several nodes: one task a GPU. A batch of the configuration is that of one GPU.
# Before its time limit the job is put back into the queue, and goes on where it was.
#   sbatch examples/slurm/train-many-nodes.sh [CONFIG.yaml [DIR [key=value ...]]]
#SBATCH --job-name=cdi-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
set -euo pipefail
cd "${CDI_HOME:-$SLURM_SUBMIT_DIR}"
config=${1:-examples/train.yaml} output=${2:-output/run}
shift $(($# < 2 ? $# : 2))

# One thread a process: the workers that draw crystals are processes of their own.
export OMP_NUM_THREADS=1
# The shell must be free to hear the signal, so the tasks run behind it. Requeueing ends them; whole epochs are kept.
trap 'scontrol requeue "$SLURM_JOB_ID"' TERM
# The trainer finds its rank and its peers by SLURM's own variables.
srun .venv/bin/cdi train "$config" "workers=$((SLURM_CPUS_PER_TASK - 1))" "$@" --output "$output" &
wait $!
