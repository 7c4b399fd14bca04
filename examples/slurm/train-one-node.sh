#!/usr/bin/env bash
# Training on one GPU of one node. Before its time limit the job is put back into the queue, and goes on where it was.
#   sbatch examples/slurm/train-one-node.sh [CONFIG.yaml [DIR [key=value ...]]]
#SBATCH --job-name=cdi-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=16
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
# The shell must be free to hear the signal, so the task runs behind it. Requeueing ends the task; whole epochs are kept.
trap 'scontrol requeue "$SLURM_JOB_ID"' TERM
srun .venv/bin/cdi train "$config" "workers=$((SLURM_CPUS_PER_TASK - 1))" "$@" --output "$output" &
wait $!
.venv/bin/cdi evaluate --model "$output/model.safetensors" --output "$output/report"
