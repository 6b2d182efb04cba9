#!/usr/bin/env bash
# Prints the log in docs/cluster.md: python -m tests.tools.slurm_node bash tests/campaigns/slurm_log.sh
# Four cells, of which one must be alone; the training is requeued after its first epochs.
set -euo pipefail
cd "$(mktemp -d /tmp/pks4-log-XXXXXX)"
trap 'rm -rf "$PWD"' EXIT
cat > night.toml <<'SUITE'
name = "night"
title = "Two costs, one time, one training"
contestants = [
  { label = "floor", model = "frame_mean", options = { width = 24, depth = 1, heads = 3 } },
  { label = "ours", model = "pks4", options = { width = 24, depth = 1, heads = 3, state = 2 } },
]

[[grids]]
name = "cost"
scale = "tiny"
frames = [2]
num_classes = 5
measures = ["params", "macs"]

[[grids]]
name = "time"
scale = "tiny"
frames = [2]
contestants = ["ours"]
measures = ["time"]
settings.time = { processes = 1, rounds = 3, sample_ms = 1 }

[[grids]]
name = "learn"
scale = "tiny"
frames = [2]
task = "temporal"
contestants = ["ours"]
measures = ["accuracy"]

[grids.settings.accuracy]
epochs = 60
image_epochs = 1
images = 20
clip_frames = 8
clips = { train = 36, val = 18, test = 18 }
SUITE

say() {
  echo "\$ $*"
  "$@" 2>&1
}

say sinfo
say pks4-bench run night.toml --executor slurm --no-wait --out .
run=$(echo night-*.jsonl)
until ls "${run%.jsonl}".partial/learn*/accuracy/training.pt > /dev/null 2>&1; do sleep 0.1; done
say squeue --array --format "%.6i %.8T %R"
job=$(grep '"learn/' "${run%.jsonl}.tasks/jobs.jsonl" | grep -o '[0-9]*_[0-9]*')
say scontrol requeue "$job"
sleep 2
say pks4-bench status "$run"
say pks4-bench run night.toml --executor slurm --resume --out . --no-report
say pks4-bench status "$run"
echo "\$ grep top1 $run"
grep '"metric":"top1"' "$run" | grep -o -E '"(executor|job|node|restarts|resumed_at_epoch)":("[^"]*"|\[[^]]*\]|[0-9]+)'
