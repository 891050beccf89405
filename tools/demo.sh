#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The demo's steps: tasks, experts, clusters, an expert per cluster, prototypes, comparison. `./dev demo` runs it.
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
table=$folder/table.txt
report=$folder/report.html

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
    --rank 8 --epochs 2 --seed 1
}

cluster_experts() {
  step clusters "$private/derived" "$quiver" cluster --model $model --library "$private" --clusters 3
}

train_clusters() {
  local trained
  mapfile -t trained < <(training_tasks)
  step cluster_experts "$clustered/library.json" "$quiver" train --model $model --library "$clustered" "${trained[@]}" \
    --clusters "$private" --rank 8 --epochs 2 --seed 1
}

prepare_arrow() {
  step prototypes "$clustered/derived" "$quiver" prepare --model $model --library "$clustered" --route arrow
}

compare_routes() {
  step comparison "$report" write_to "$table" "$quiver" evaluate --model $model --library "$private" --task "$tasks" \
    --route base --route uniform --route arrow --route oracle --split test --seed 1 --report "$report"
}

mkdir -p "$folder/steps"
make_tasks
train_experts
cluster_experts
train_clusters
prepare_arrow
compare_routes
cat "$table"
printf 'demo: %d s in all\nreport: %s\n' "$SECONDS" "$report"
