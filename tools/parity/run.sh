#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compares Quiver's numbers with those of transformers and PEFT, in a virtual environment of its own.
#
# usage: tools/parity/run.sh [--venv FOLDER] [options of parity.py]
#   tools/parity/run.sh --gguf FILE                      the default model's GGUF file; its Hugging Face folder is made
#   tools/parity/run.sh --model HF_FOLDER [--gguf FILE]
#
# The environment (1.5 GB) is kept in the user's cache folder (QUIVER_CACHE, else ~/.cache/quiver) and made once. It is not
# the .venv that Quiver is built against: a checker should not share its parts.
set -euo pipefail

readonly REQUIREMENTS=(numpy transformers==5.23.0 peft==0.21.0 gguf==0.19.0)
readonly TORCH=torch==2.13.0+cpu
readonly TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${QUIVER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quiver}
venv=$cache/parity-venv
if [ "${1:-}" = --venv ]; then
  venv=${2:?--venv needs a folder}
  shift 2
fi

# "installed" is written last and names what was installed: an interrupted or older environment does not count. A folder that
# this script has not made is left alone.
installed=$venv/quiver-parity-installed.txt
ours=$venv/quiver-parity-venv.txt
wanted="$TORCH ${REQUIREMENTS[*]}"
if [ "$(cat "$installed" 2>/dev/null)" != "$wanted" ]; then
  if [ -n "$(ls -A "$venv" 2>/dev/null)" ] && [ ! -e "$ours" ]; then
    echo "parity: $venv is not empty and was not made here: remove it, or name another folder with --venv" >&2
    exit 1
  fi
  echo "parity: making $venv ($wanted)" >&2
  mkdir -p "$venv"
  rm -f "$installed"
  touch "$ours"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --no-compile "$TORCH" 2>/dev/null ||
    "$venv/bin/pip" install --quiet --no-compile --index-url "$TORCH_CPU_INDEX" "$TORCH"
  "$venv/bin/pip" install --quiet --no-compile "${REQUIREMENTS[@]}"
  echo "$wanted" >"$installed"
fi

quiver=$here/../../build/release/quiver
case " $* " in
  *" --quiver "* | *" --self-test "* | *" --help "* | *" -h "*) ;;
  *) set -- --quiver "$quiver" "$@" ;;
esac
exec "$venv/bin/python" "$here/parity.py" "$@"
