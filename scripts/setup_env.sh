# Makes .venv with everything pinned and the op compiled. To be sourced by the scripts beside it:
#
#     . scripts/setup_env.sh; setup_env [dev] [horovod]
#
# then "$PYTHON" is the interpreter to use. A second call finds everything in place.
#
# Environment:
#   SSPQ_PYTHON      the Python 3.7 to use, instead of looking for one
#   SSPQ_TENSORFLOW  tensorflow or tensorflow-gpu; by default the latter where nvidia-smi lists a GPU

SSPQ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

# Whether "$1" is a CPython 3.7 that can make a virtual environment.
is_python37() {
  "$1" -c 'import sys, venv, ensurepip, ssl; sys.exit(sys.version_info[:2] != (3, 7))' \
    >/dev/null 2>&1
}

# Prints every place where a Python 3.7 may be, one a line, the user's own choice first.
python37_candidates() {
  local name root
  for name in python3.7 python3 python; do type -P "$name"; done
  for root in "${PYENV_ROOT:-}" "$HOME/.pyenv"; do
    if [ -n "$root" ]; then printf '%s\n' "$root"/versions/3.7*/bin/python3.7; fi
  done
  if type -P uv >/dev/null; then uv python find --no-python-downloads 3.7 2>/dev/null; fi
  printf '%s\n' "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/cpython-3.7*/bin/python3.7
  for root in "${CONDA_PREFIX:-}" "$HOME"/{miniconda3,anaconda3,miniforge3,mambaforge,micromamba} \
    /opt/conda /opt/miniconda3; do
    if [ -n "$root" ]; then printf '%s\n' "$root"/bin/python3.7 "$root"/envs/*/bin/python3.7; fi
  done
  printf '%s\n' /usr/bin/python3.7 /usr/local/bin/python3.7 /opt/python/cp37-cp37m/bin/python3.7
}

find_python37() {
  local candidate
  if [ -n "${SSPQ_PYTHON:-}" ]; then
    if is_python37 "$SSPQ_PYTHON"; then
      printf '%s\n' "$SSPQ_PYTHON"
      return 0
    fi
    say "SSPQ_PYTHON=$SSPQ_PYTHON is not a Python 3.7 with the modules venv, ensurepip and ssl."
  else
    while IFS= read -r candidate; do
      if [ -x "$candidate" ] && is_python37 "$candidate"; then
        printf '%s\n' "$candidate"
        return 0
      fi
    done < <(python37_candidates)
    say "No Python 3.7 was found."
  fi
  say "sspq needs one, since TensorFlow 1.15 has no packages for newer versions. Any of these gets it;
then run the same command again:
  pyenv    pyenv install 3.7.17
  uv       uv python install 3.7
  conda    conda create -y -n py37 python=3.7
  Docker   docker build -t sspq -f docker/Dockerfile . && docker run --rm -it sspq bash
An interpreter elsewhere: SSPQ_PYTHON=/path/to/python3.7
(One without venv, ensurepip or ssl does not do; on Debian and Ubuntu, install python3.7-venv too.)"
  return 1
}

tensorflow_package() {
  if [ -n "${SSPQ_TENSORFLOW:-}" ]; then
    printf '%s\n' "$SSPQ_TENSORFLOW"
  elif type -P nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then
    printf 'tensorflow-gpu\n'
  else
    printf 'tensorflow\n'
  fi
}

# A fingerprint of what .venv was made from, so that a change makes it anew.
environment_stamp() {
  cat "$@" | cksum
  printf '%s\n' "$@"
}

# Runs a command quietly; shows what it printed only if it fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
  else
    local status=$?
    tail -n 40 "$log" >&2
    rm -f "$log"
    say "failed: $*"
    return $status
  fi
}

# Installs into "$1" what the other arguments say. Python compiles what it imports when it does:
# compiling all of TensorFlow ahead takes longer than the installation itself.
pip_install() {
  local venv=$1
  shift
  quietly "$venv/bin/python" -m pip install --disable-pip-version-check --no-compile "$@"
}

install_into() {
  local venv=$1 python=$2
  shift 2
  rm -rf "$venv"
  say "Making $venv with $python"
  "$python" -m venv "$venv" || return
  say "Installing the pinned packages (about 200 MB, a minute or two) ..."
  # Before version 20 pip does not know the current kinds of wheels; 24.0 is the last for Python 3.7.
  if ! "$venv/bin/python" -c 'import pip, sys; sys.exit(int(pip.__version__.split(".")[0]) < 20)'; then
    pip_install "$venv" pip==24.0 setuptools==68.0.0 wheel==0.42.0 || return
  fi
  # shellcheck disable=SC2046  # one -r per file, and the files have no spaces in their names
  (cd "$SSPQ_ROOT/requirements" && pip_install "$venv" $(printf -- '-r %s ' "${@##*/}")) || return
}

# Compiles Horovod with Gloo for the TensorFlow in "$1", unless there is a wheel from before, and
# installs it. The wheel is told by everything that it depends on: one built for another TensorFlow
# fails only when it is imported.
install_horovod() {
  local venv=$1 base=$2 requirements=$SSPQ_ROOT/requirements wheels key
  key=$({ cat "$base" "$requirements"/horovod*.txt; env | grep ^HOROVOD_ | sort; uname -m; } | cksum)
  wheels=${XDG_CACHE_HOME:-$HOME/.cache}/sspq/wheels/${key%% *}
  if ! compgen -G "$wheels/horovod-*.whl" >/dev/null; then
    say "Compiling Horovod (about six minutes on two cores) ..."
    pip_install "$venv" -r "$requirements/horovod-build.txt" || return
    mkdir -p "$wheels"
    (
      export PATH=$venv/bin:$PATH HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITH_GLOO=1
      export HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITHOUT_MPI=1
      quietly "$venv/bin/python" -m pip wheel --disable-pip-version-check --no-deps \
        --no-build-isolation --no-cache-dir -w "$wheels/part" \
        "$(grep ^horovod== "$requirements/horovod.txt")"
    ) || return
    mv "$wheels/part"/horovod-*.whl "$wheels"
  fi
  pip_install "$venv" -r "$requirements/horovod.txt" --find-links "$wheels" || return
}

# Whether the extra "$1" in the virtual environment "$2" was made from the files that follow.
has_extra() {
  local extra=$1 venv=$2
  shift 2
  [ "$(cat "$venv/sspq-$extra" 2>/dev/null)" = "$(environment_stamp "$@")" ]
}

# setup_env [dev] [horovod]: "dev" adds what the tests need, "horovod" Horovod.
setup_env() {
  local venv=$SSPQ_ROOT/.venv requirements=$SSPQ_ROOT/requirements tensorflow python
  tensorflow=$(tensorflow_package)
  if [ ! -f "$requirements/$tensorflow.txt" ]; then
    say "SSPQ_TENSORFLOW must be tensorflow or tensorflow-gpu, got '$tensorflow'."
    return 2
  fi
  local base=("$requirements/base.txt" "$requirements/$tensorflow.txt")
  PYTHON=$venv/bin/python
  # One set-up at a time: a killed one's pip may still be at work, and is waited for.
  exec 9>"$SSPQ_ROOT/.venv.lock" || return
  if type -P flock >/dev/null; then flock 9; fi
  if ! has_extra base "$venv" "${base[@]}"; then
    if ! python=$(find_python37); then
      exec 9>&-
      rm -f "$SSPQ_ROOT/.venv.lock"
      return 1
    fi
    install_into "$venv" "$python" "${base[@]}" || return
    environment_stamp "${base[@]}" >"$venv/sspq-base"
  fi
  if [[ " $* " == *" dev "* ]] && ! has_extra dev "$venv" "$requirements/dev.txt"; then
    say "Installing what the tests need ..."
    pip_install "$venv" -r "$requirements/dev.txt" || return
    environment_stamp "$requirements/dev.txt" >"$venv/sspq-dev"
  fi
  if [[ " $* " == *" horovod "* ]] && ! has_extra horovod "$venv" "$requirements"/horovod*.txt; then
    install_horovod "$venv" "$requirements/$tensorflow.txt" || return
    environment_stamp "$requirements"/horovod*.txt >"$venv/sspq-horovod"
  fi
  # Compiles only what changed.
  (cd "$SSPQ_ROOT" && quietly "$PYTHON" setup.py -q build_ext --inplace) || return
  # Scripts find the package of this folder from anywhere.
  printf '%s\n' "$SSPQ_ROOT" >"$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/sspq-source.pth"
  exec 9>&-
}
