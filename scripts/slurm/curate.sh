#!/usr/bin/env bash
# A curation on a cluster with Slurm, from the project's folder on a login node:
#   bash scripts/slurm/curate.sh 16 recipes/tacos/alpaca-52k runs/tacos [any option of tagevol curate]
# 16 jobs ask a sixteenth of the replies each. Steps that need all rows (the tag pool, clusters, comparisons, …) part the
# run into phases: an array of shards, then a merge, which submits the next phase, until a merge finds nothing left and
# writes the result. All nodes must see the run folder. Where shards fail, their merge is cancelled, and the same command
# goes on from there. GPUs, time and partition: in curate.sbatch, or by SBATCH_PARTITION, SBATCH_TIMELIMIT and their like.
# --max-requests and its like hold for each job. Let an engine of shards be one a job (vllm:, vllm-serve:, transformers:)
# or a server that serves them all; it must have the same model for all of them.
set -euo pipefail

shards=${1:?give the number of shards}
recipe=${2:?give a curate recipe}
run=${3:?give the run folder}
shift 3
phase=${TAGEVOL_PHASE:-1}
if ((phase > 50)); then
  echo "curate.sh: phase $phase: the shards wait for each other without end; see $run/shards/*/run.json" >&2
  exit 1
fi

job=$(sbatch --parsable --array "1-$shards" scripts/slurm/curate.sbatch "$shards" "$recipe" "$run" "$@")
merge=$(sbatch --parsable --dependency "afterok:${job%%;*}" --kill-on-invalid-dep yes \
  scripts/slurm/merge.sbatch "$phase" "$shards" "$recipe" "$run" "$@")
echo "phase $phase: $shards shards in job ${job%%;*}, their merge in job ${merge%%;*}"
