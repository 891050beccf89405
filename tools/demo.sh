#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The demo's steps: tasks, experts, clusters, an expert per cluster, comparison of routes. `./dev demo` runs it.
#
#   usage: tools/demo.sh [FOLDER]        (default: .demo)
#
# A step whose result is there, made by the same command, is skipped; so an interrupted demo goes on where it stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${1:-.demo}
quiver=build/release/quiver
model=smollm2
tasks=$folder/tasks
private=$folder/library          # one expert per task
clustered=$folder/library_mbc    # one expert per cluster of tasks

# step NAME RESULT COMMAND...: runs the command unless RESULT is there from the same command.
step() {
  local name=$1 result=$2 stamp="$folder/steps/$1" start=$SECONDS
  shift 2
  if [ -e "$result" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$*" ]; then
    printf '== %s: there already (%s)\n' "$name" "$result"
    return
  fi
  printf '== %s\n   %s\n' "$name" "$*"
  "$@"
  printf '%s' "$*" >"$stamp"
  printf '   %d s\n' $((SECONDS - start))
}

# write_to FILE COMMAND...: the command's standard output into FILE, which appears only when it is complete.
write_to() {
  local file=$1
  shift
  "$@" >"$file.part"
  mv "$file.part" "$file"
}

training_tasks() {
  local cluster
  for cluster in "$tasks"/*/; do
    [ "$(basename "$cluster")" = held_out ] || printf -- '--task\n%s\n' "${cluster%/}"
  done
}

make_tasks() { step tasks "$tasks" python3 tools/demo_tasks.py "$tasks"; }

train_experts() {
  local trained
  mapfile -t trained < <(training_tasks)
  step experts "$private/library.json" "$quiver" train --model $model --library "$private" "${trained[@]}" \
    --rank 8 --epochs 2 --limit 112 --seed 1
}

cluster_experts() {
  step clusters "$private/derived" "$quiver" cluster --library "$private" --clusters 3
}

train_clusters() {
  local trained
  mapfile -t trained < <(training_tasks)
  step cluster_experts "$clustered/library.json" "$quiver" train --model $model --library "$clustered" "${trained[@]}" \
    --clusters "$private" --rank 8 --epochs 2 --limit 64 --seed 1
}

# compare NAME LIBRARY ROUTE...: a table of the routes over all tasks, the held-out ones too, and a report.
compare() {
  local name=$1 library=$2 route routes=()
  shift 2
  for route in "$@"; do routes+=(--route "$route"); done
  step "prototypes_$name" "$library/derived" "$quiver" prepare --model $model --library "$library" --route arrow
  step "comparison_$name" "$folder/$name.html" write_to "$folder/$name.txt" "$quiver" evaluate --model $model \
    --library "$library" --task "$tasks" "${routes[@]}" --split test --limit 30 --max-new-tokens 12 --seed 1 \
    --matrix --matrix-limit 10 --report "$folder/$name.html"
}

mkdir -p "$folder/steps"
make_tasks
train_experts
cluster_experts
train_clusters
compare report_mbc "$clustered" uniform arrow
compare report "$private" base uniform arrow auto oracle
printf '\nOne expert per cluster:\n%s\n' "$(cat "$folder/report_mbc.txt")"
printf '\nOne expert per task:\n%s\n' "$(cat "$folder/report.txt")"
printf '\ndemo: %d s in all\nreport: %s\n' "$SECONDS" "$folder/report.html"
