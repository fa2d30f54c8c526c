# Makes .venv with everything pinned and the op compiled. To be sourced by the scripts beside it:
#
#     . scripts/setup_env.sh; setup_env [dev] [horovod]
#
# then "$PYTHON" is the interpreter to use. A second call finds everything in place.
#
# Environment:
#   SSPQ_PYTHON      the Python 3.7 to use, instead of looking for one
#   SSPQ_TENSORFLOW  tensorflow or tensorflow-gpu; by default the latter where nvidia-smi lists a GPU.
#                    Or installed: a Python 3.7 or 3.8 that has a TensorFlow 1.15, such as NVIDIA's

SSPQ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

# Whether "$1" is a CPython 3.7 that can make a virtual environment, and not the one in .venv.
is_python37() {
  "$1" -c 'import sys, venv, ensurepip, ssl
sys.exit(sys.version_info[:2] != (3, 7) or sys.prefix == sys.argv[1])' "$SSPQ_ROOT/.venv" \
    >/dev/null 2>&1
}

# Whether "$1" is a CPython with a TensorFlow 1.15 that a virtual environment on top of it sees. The
# last line that it prints says why not.
has_tensorflow() {
  "$1" -W ignore -c 'import sys
if not (3, 7) <= sys.version_info[:2] <= (3, 8):
    sys.exit("it is Python %d.%d" % sys.version_info[:2])
if sys.prefix != sys.base_prefix:
    sys.exit("it is a virtual environment")
import pip, ssl, venv
import tensorflow
if not tensorflow.__version__.startswith("1.15."):
    sys.exit("it has TensorFlow " + tensorflow.__version__)' 2>&1
}

# Prints every place where a Python of the version "$1" may be, one a line, the user's own choice first.
python_candidates() {
  local version=$1 name root
  for name in "python$version" python3 python; do type -P "$name"; done
  for root in "${PYENV_ROOT:-}" "$HOME/.pyenv"; do
    if [ -n "$root" ]; then printf '%s\n' "$root/versions/$version"*/bin/"python$version"; fi
  done
  if type -P uv >/dev/null; then uv python find --no-python-downloads "$version" 2>/dev/null; fi
  root=${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}
  printf '%s\n' "$root/cpython-$version"*/bin/"python$version"
  for root in "${CONDA_PREFIX:-}" "$HOME"/{miniconda3,anaconda3,miniforge3,mambaforge,micromamba} \
    /opt/conda /opt/miniconda3; do
    if [ -n "$root" ]; then
      printf '%s\n' "$root/bin/python$version" "$root"/envs/*/bin/"python$version"
    fi
  done
  printf '%s\n' {/usr/bin,/usr/local/bin,/opt/python/cp"${version/./}"-cp*/bin}/"python$version"
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
    done < <(python_candidates 3.7)
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

find_python_with_tensorflow() {
  local candidate reason reasons='' candidates=(python3 python)
  if [ -n "${SSPQ_PYTHON:-}" ]; then candidates=("$SSPQ_PYTHON"); fi
  for candidate in "${candidates[@]}"; do
    if reason=$(has_tensorflow "$candidate"); then
      type -P "$candidate"
      return 0
    fi
    reasons+="  $candidate: ${reason##*$'\n'}"$'\n'
  done
  say "SSPQ_TENSORFLOW=installed needs a Python 3.7 or 3.8 with TensorFlow 1.15, and with pip and venv.
${reasons}An interpreter elsewhere: SSPQ_PYTHON=/path/to/python3"
  return 1
}

# The interpreter to make .venv with, for "$1" of tensorflow_package.
find_python() {
  if [ "$1" = installed ]; then find_python_with_tensorflow; else find_python37; fi
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

# Installs into "$1" what the other arguments say. Python compiles what it imports when it does that
# first: compiling all of TensorFlow ahead takes longer than the installation itself. Where it is
# told not to keep that, every start would compile 2,000 files, which takes four seconds.
pip_install() {
  local venv=$1 compile=--no-compile
  shift
  if [ -n "${PYTHONDONTWRITEBYTECODE:-}" ]; then compile=--compile; fi
  quietly "$venv/bin/python" -m pip install --disable-pip-version-check "$compile" "$@"
}

# Makes the environment "$1" with the interpreter "$2", for "$3" of tensorflow_package.
install_into() {
  local venv=$1 python=$2 tensorflow=$3 options=(-c constraints.txt -r base.txt)
  rm -rf "$venv"
  say "Making $venv with $python"
  if [ "$tensorflow" = installed ]; then
    # With that Python's own pip: Ubuntu's Python has no ensurepip to put one into the environment.
    "$python" -m venv --system-site-packages --without-pip "$venv" || return
    installed_libraries "$venv" >"$venv/installed.txt" || return
    options+=(-c "$venv/installed.txt")
  else
    "$python" -m venv "$venv" || return
    options+=(-r "$tensorflow.txt")
  fi
  say "Installing the pinned packages (about 200 MB, a minute or two) ..."
  # Before version 20 pip does not know the current kinds of wheels; 24.0 is the last for Python 3.7.
  if ! "$venv/bin/python" -c 'import pip, sys; sys.exit(int(pip.__version__.split(".")[0]) < 20)'; then
    pip_install "$venv" pip==24.0 setuptools==68.0.0 wheel==0.42.0 || return
  fi
  (cd "$SSPQ_ROOT/requirements" && pip_install "$venv" "${options[@]}")
}

# Compiles Horovod with Gloo for the TensorFlow in the environment "$1", unless there is a wheel from
# before, and installs it. The wheel's folder is named by all that it depends on: one built for
# another TensorFlow fails only when it is imported.
install_horovod() {
  local venv=$1 requirements=$SSPQ_ROOT/requirements wheels key
  key=$({
    "$venv/bin/python" -m pip --disable-pip-version-check list --format=freeze 2>/dev/null |
      grep -iE '^(tensorflow|tensorflow-gpu)=='
    cat "$requirements"/horovod*.txt
    env | grep ^HOROVOD_ | sort
    uname -m
  } | cksum)
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
  pip_install "$venv" -c "$requirements/constraints.txt" -r "$requirements/horovod.txt" \
    --find-links "$wheels" || return
}

# Whether the extra "$1" in the virtual environment "$2" was made from the files that follow.
has_extra() {
  local extra=$1 venv=$2
  shift 2
  [ "$(cat "$venv/sspq-$extra" 2>/dev/null)" = "$(environment_stamp "$@")" ]
}

# Prints, as pins, the libraries that the installed TensorFlow works with: they must stay as they are.
installed_libraries() {
  local names
  names=$(sed -n 's/^\([a-z0-9]*\)==.*/\1/p' "$SSPQ_ROOT/requirements/tensorflow-libraries.txt")
  "$1/bin/python" -m pip --disable-pip-version-check list --format=freeze 2>/dev/null |
    grep -iE "^(${names//$'\n'/|})=="
}

# setup_packages [dev] [horovod]: .venv without the ops. Leaves the set-up locked, for what comes next.
setup_packages() {
  local venv=$SSPQ_ROOT/.venv requirements=$SSPQ_ROOT/requirements tensorflow python stamp
  local files=("$requirements"/{base,constraints,tensorflow-libraries}.txt)
  local dev=("$requirements"/{dev,docs,notebook,onnx}.txt)
  tensorflow=$(tensorflow_package)
  case $tensorflow in
    tensorflow | tensorflow-gpu) files+=("$requirements/$tensorflow.txt") ;;
    installed) ;;
    *)
      say "SSPQ_TENSORFLOW must be tensorflow, tensorflow-gpu or installed, got '$tensorflow'."
      return 2
      ;;
  esac
  stamp=$(environment_stamp "${files[@]}")
  PYTHON=$venv/bin/python
  # What another user set up, as in a container run with --user, is used as it is.
  if [ -w "$SSPQ_ROOT" ]; then
    # One set-up at a time: a killed one's pip may still be at work, and is waited for.
    exec 9>"$SSPQ_ROOT/.venv.lock" || return
    if type -P flock >/dev/null; then flock 9; fi
  fi
  if [ "$(cat "$venv/sspq-base" 2>/dev/null)" != "$stamp" ]; then
    if [ ! -w "$SSPQ_ROOT" ]; then
      say "$venv is missing or does not fit requirements/, and this user cannot write there."
      return 1
    fi
    if ! python=$(find_python "$tensorflow"); then
      exec 9>&-
      rm -f "$SSPQ_ROOT/.venv.lock"
      return 1
    fi
    install_into "$venv" "$python" "$tensorflow" || return
    printf '%s\n' "$stamp" >"$venv/sspq-base"
  fi
  if [[ " $* " == *" dev "* ]] && ! has_extra dev "$venv" "${dev[@]}"; then
    say "Installing what the tests and the documentation need ..."
    pip_install "$venv" -c "$requirements/constraints.txt" -r "$requirements/dev.txt" || return
    environment_stamp "${dev[@]}" >"$venv/sspq-dev"
  fi
  if [[ " $* " == *" horovod "* ]] && ! has_extra horovod "$venv" "$requirements"/horovod*.txt; then
    install_horovod "$venv" || return
    environment_stamp "$requirements"/horovod*.txt >"$venv/sspq-horovod"
  fi
}

# setup_env [dev] [horovod]: "dev" adds what the tests and the documentation need, "horovod" Horovod.
setup_env() {
  local link
  setup_packages "$@" || return
  # Compiles only what changed.
  (cd "$SSPQ_ROOT" && quietly "$PYTHON" setup.py -q build_ext --inplace) || return
  # Scripts find the package of this folder from anywhere.
  link=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/sspq-source.pth
  if [ "$(cat "$link" 2>/dev/null)" != "$SSPQ_ROOT" ]; then
    printf '%s\n' "$SSPQ_ROOT" >"$link" || return
  fi
  exec 9>&-
}
