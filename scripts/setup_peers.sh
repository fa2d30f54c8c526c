#!/usr/bin/env bash
# Makes the environment with PyTorch for benchmarks/peers.py and prints its interpreter. A second call
# finds it in place: ~/.cache/sspq/peers.
#
#     bash scripts/setup_peers.sh
#
# Environment:
#   SSPQ_PEERS_PYTHON  the Python 3.10 to 3.14 to use, instead of looking for one
#   SSPQ_PEERS_INDEX   a package index that has PyTorch's CPU build; by default PyTorch's own. PyPI's
#                      package is taken where it cannot be reached, and where this is empty
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

# Whether "$1" is a CPython that PyTorch has packages for and that can make a virtual environment.
is_peers_python() {
  "$1" -c 'import sys, venv, ensurepip, ssl
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

find_peers_python() {
  local version candidate
  if [ -n "${SSPQ_PEERS_PYTHON:-}" ]; then
    if is_peers_python "$SSPQ_PEERS_PYTHON"; then
      printf '%s\n' "$SSPQ_PEERS_PYTHON"
      return 0
    fi
    say "SSPQ_PEERS_PYTHON=$SSPQ_PEERS_PYTHON is not a Python 3.10 to 3.14 with the modules venv, ensurepip and ssl."
    return 1
  fi
  for version in 3.12 3.11 3.13 3.10 3.14; do
    while IFS= read -r candidate; do
      if [ -x "$candidate" ] && is_peers_python "$candidate"; then
        printf '%s\n' "$candidate"
        return 0
      fi
    done < <(python_candidates "$version")
  done
  say "No Python 3.10 to 3.14 was found, which PyTorch needs. One elsewhere: SSPQ_PEERS_PYTHON=/path/to/python3"
  return 1
}

make_peers() {
  local python=$1 options=(-r "$requirements") index=${SSPQ_PEERS_INDEX-https://download.pytorch.org/whl/cpu}
  # pip would try for minutes.
  if "$python" -c 'import sys, urllib.request as u
u.urlopen(sys.argv[1], timeout=10)' "$index/torch/" >/dev/null 2>&1; then
    options+=(--extra-index-url "$index")
  elif [ -n "$index" ]; then
    say "$index cannot be reached: installing PyPI's package, which may be one for GPUs, of some GB"
  fi
  say "Making $venv with $python"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  say "Installing PyTorch (about 200 MB, a minute or two) ..."
  pip_install "$venv" "${options[@]}"
  printf '%s\n' "$stamp" >"$venv/sspq-peers"
}

requirements=$SSPQ_ROOT/requirements/peers.txt
venv=${XDG_CACHE_HOME:-$HOME/.cache}/sspq/peers
stamp=$(cksum <"$requirements")  # without its path: checkouts share the environment
mkdir -p "${venv%/*}"
exec 9>"$venv.lock"
if type -P flock >/dev/null; then flock 9; fi # one set-up at a time
if [ "$(cat "$venv/sspq-peers" 2>/dev/null)" != "$stamp" ]; then
  python=$(find_peers_python)
  make_peers "$python"
fi
printf '%s\n' "$venv/bin/python"
