#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A library of two experts from two task files written here, routed by Arrow. About two minutes; needs the built program and the
# default base model (./dev setup && ./dev build).
#
#   usage: examples/first_library.sh [FOLDER]      (default: a new temporary folder)
set -euo pipefail
quiver=$(dirname "${BASH_SOURCE[0]}")/../build/release/quiver
folder=${1:-$(mktemp -d)}

# A task: JSON lines with source and target.
for noun in cat river lamp stone tree cloud chair book garden letter; do
  echo "{\"source\": \"Plural of the noun: $noun\", \"target\": \"${noun}s\"}"
done >"$folder/plural.jsonl"
for pair in big:small hot:cold early:late open:closed light:dark fast:slow high:low full:empty; do
  echo "{\"source\": \"Opposite of the word: ${pair%:*}\", \"target\": \"${pair#*:}\"}"
done >"$folder/opposite.jsonl"

"$quiver" train --library "$folder/library" --task "$folder/plural.jsonl" --task "$folder/opposite.jsonl" --rank 4 --epochs 6 --batch 4
"$quiver" library list --library "$folder/library"
"$quiver" inspect --library "$folder/library" --route arrow --text 'Plural of the noun: boat'
"$quiver" generate --library "$folder/library" --route arrow --prompt $'Plural of the noun: boat\n' --max-new-tokens 6
