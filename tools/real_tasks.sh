#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The experiment of docs/results.md on real tasks: private experts, one shared expert, experts of MBC clusters; base, uniform,
# Arrow and oracle on the tasks trained and on tasks left out.
#
#   usage: tools/real_tasks.sh DATA OUT     DATA: a folder CLUSTER/TASK.jsonl;  OUT: libraries, logs and results (JSON lines)
#
# Finished steps are not repeated: `train` finds its experts, and results that are there are kept.
set -euo pipefail
data=$1 out=$2
quiver=${QUIVER:-build/release/quiver}
# Full recipe: 480 rows. The rest gets fewer rows, for time.
recipe=(intent/snips_intent intent/clinc_banking topic/trec_question_type sentiment/sst2 word/inflection
  list/list_max_abs)
small=(intent/clinc_home intent/clinc_meta intent/clinc_kitchen_and_dining topic/freebase_category sentiment/customer_reviews
  word/antonyms word/pronunciation word/country_capital extraction/dart_subject state/tom_qa rewrite/negative_to_positive)
left_out=(intent/clinc_credit_cards intent/clinc_auto_and_commute sentiment/movie_polarity word/country_currency)
options=(--model smollm2 --rank 4 --alpha 16 --epochs 2 --batch 16 --learning-rate 2e-3 --warmup 0.06 --schedule linear
  --clip 1 --seed 1 --json)
mkdir -p "$out"

tasks() { local t; for t in "$@"; do printf -- '--task\n%s\n' "$data/$t.jsonl"; done; }
train() { echo "quiver train $*" >>"$out/commands.txt"; "$quiver" train "$@" "${options[@]}" >>"$out/train.jsonl" 2>>"$out/log.txt"; }
evaluate() {
  local name=$1; shift
  [ -e "$out/$name.jsonl" ] && return
  echo "quiver evaluate $*" >>"$out/commands.txt"
  "$quiver" evaluate --model smollm2 --rank-labels 20 --seed 1 --json --samples "$out/$name.samples.jsonl" "$@" \
    >"$out/$name.part" 2>>"$out/log.txt"
  mv "$out/$name.part" "$out/$name.jsonl"
}

mapfile -t recipe_tasks < <(tasks "${recipe[@]}")
mapfile -t small_tasks < <(tasks "${small[@]}")
mapfile -t left_tasks < <(tasks "${left_out[@]}")
all_tasks=("${recipe_tasks[@]}" "${small_tasks[@]}")
rows=${ROWS:-60} limit=${LIMIT:-20}

train --library "$out/private" "${recipe_tasks[@]}" --limit 480 --validation-limit 100
evaluate recipe --library "$out/private" "${recipe_tasks[@]}" --route base --route oracle --limit 100
train --library "$out/private" "${small_tasks[@]}" --limit 100 --validation-limit 40
"$quiver" cluster --library "$out/private" --clusters "${CLUSTERS:-5}" --json >"$out/clusters.json"
train --library "$out/mbc" "${all_tasks[@]}" --clusters "$out/private" --limit "$rows" --validation-limit 8
train --library "$out/shared" "${all_tasks[@]}" --name shared --limit "$rows" --validation-limit 8
evaluate private --library "$out/private" "${all_tasks[@]}" "${left_tasks[@]}" --route base --route uniform --route arrow \
  --route oracle --limit "$limit" --max-new-tokens 16 --report "$out/report.html"
evaluate mbc --library "$out/mbc" "${all_tasks[@]}" "${left_tasks[@]}" --route arrow --limit "$limit" --max-new-tokens 16
evaluate shared --library "$out/shared" "${all_tasks[@]}" "${left_tasks[@]}" --route expert:shared --limit "$limit" --max-new-tokens 16
