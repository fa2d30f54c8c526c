#!/usr/bin/env bash
# Builds one of the two Dockerfiles without a Docker daemon and without NVIDIA's servers, and runs tests in
# the image. For maintainers: as root on Debian, with buildah and mmdebstrap, and a Python 3.7.
#
#     docker/build_without_daemon.sh Dockerfile              TensorFlow for the CPU
#     docker/build_without_daemon.sh Dockerfile.ngc          a TensorFlow that is there already, on the CPU
#     docker/build_without_daemon.sh Dockerfile.ngc FOLDER   tensorflow-gpu, and the CUDA toolkit in FOLDER,
#                                                            which must know the GPUs that the file names
#
# In the place of the base image it puts a root file system of this machine's Debian with g++ and this
# machine's Python 3.7. All instructions that follow `FROM ${BASE}` are then executed as they stand. So it
# shows that the steps, the pinned packages, the op's compilation, file ownership and the users work. It
# does NOT execute the stage `cuda` of Dockerfile (Ubuntu 18.04, NVIDIA's repositories, CUDA 10.0 and its g++),
# does not see NVIDIA's container (its Python 3.8 and its TensorFlow), and starts no GPU.
#
# Took 34 and 37 minutes on two busy cores, most of it for the tests, and up to 10 GB in
# ${TMPDIR:-/var/tmp}, which it frees again.
# SSPQ_PYTHON names the Python 3.7 where it is not found.
set -euo pipefail

dockerfile=${1:-} cuda=${2:-}
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup_env.sh"
case $dockerfile in
  Dockerfile) [ -z "$cuda" ] || { say "Dockerfile is built for the CPU here, without $cuda"; exit 2; } ;;
  Dockerfile.ngc) ;;
  *) say "expected Dockerfile or Dockerfile.ngc, got '$dockerfile'"; exit 2 ;;
esac
for tool in buildah mmdebstrap; do
  type -P "$tool" >/dev/null || { say "$tool is missing: apt-get install $tool"; exit 1; }
done
if [ -n "$cuda" ] && [ ! -x "$cuda/bin/nvcc" ]; then say "no $cuda/bin/nvcc"; exit 2; fi
python=$(find_python37)

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}" sspq-docker.XXXXXX)
root=$work/root
store() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }
cleanup() {
  store rm --all >/dev/null 2>&1 || true
  store rmi --all --force >/dev/null 2>&1 || true
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The Debian packages, separated by commas, with the libraries of this machine's Python.
python_packages() {
  local lib
  find "$1/lib/python3.7/lib-dynload" -name '*.so' \
    \( -name '_ssl.*' -o -name '_ctypes.*' -o -name '_bz2.*' -o -name '_lzma.*' -o -name 'zlib.*' \
    -o -name '_sqlite3.*' -o -name 'readline.*' \) -exec ldd {} + |
    awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
    while read -r lib; do
      dpkg -S "$lib" "/usr$lib" 2>/dev/null | sed 's/:.*//' || true
    done | sort -u | paste -sd,
}

say "== A root file system in the place of the base image"
prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
mmdebstrap --quiet --variant=minbase \
  --include="ca-certificates,g++,$(python_packages "$prefix")" \
  "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root"
tar -C "$prefix" --exclude=lib/python3.7/test --exclude='*.a' --exclude=__pycache__ \
  --exclude=site-packages/ -c bin lib include | tar -C "$root/usr/local" --no-same-owner -x
mkdir -p "$root/usr/local/lib/python3.7/site-packages"
ldconfig -r "$root"
# pip reaches its index in there as it does here.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp /etc/resolv.conf "$root/etc/"
if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$root/etc/"; fi

arguments=(--build-arg BASE=localhost/base)
if [ "$dockerfile" = Dockerfile ]; then
  arguments+=(--build-arg SSPQ_TENSORFLOW=tensorflow)
else
  say "== TensorFlow of the base image"
  tensorflow=tensorflow
  if [ -n "$cuda" ]; then
    tensorflow="tensorflow-gpu"
    cp -r "$cuda/." "$root/usr/local/cuda"
  fi
  quietly chroot "$root" python3.7 -m ensurepip
  cp -r "$SSPQ_ROOT/requirements" "$root/tmp/"
  quietly chroot "$root" python3.7 -m pip install --no-cache-dir --no-compile \
    -c /tmp/requirements/constraints.txt -r "/tmp/requirements/$tensorflow.txt"
  rm -r "$root/tmp/requirements"
  # Ubuntu's Python has none.
  rm -r "$root/usr/local/lib/python3.7/ensurepip"
  ln -sf python3.7 "$root/usr/local/bin/python3"
fi
if [ -z "$cuda" ]; then arguments+=(--build-arg SSPQ_WITH_CUDA=0); fi

base=$(store from scratch)
store add --quiet "$base" "$root" / >/dev/null
rm -rf "$root"
store config --env PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$base"
store commit --quiet --disable-compression --rm "$base" base >/dev/null

say "== $dockerfile from FROM \${BASE} on"
store build --isolation chroot --layers=false --pull-never --ignorefile "$SSPQ_ROOT/.dockerignore" \
  "${arguments[@]}" -f "$SSPQ_ROOT/docker/$dockerfile" -t sspq "$SSPQ_ROOT"
store inspect --type image --format 'user {{.OCIv1.Config.User}}, {{.OCIv1.Config.Env}}' sspq

container=$(store from --pull-never sspq)
# in_container USER COMMAND ...
in_container() {
  local user=$1
  shift
  store run --isolation chroot --env TF_CPP_MIN_LOG_LEVEL=2 --user "$user" "$container" -- "$@"
}

say "== As the user of the image"
in_container sspq bash tests/run.sh -q tests/ops tests/test_cli.py tests/test_scripts.py tests/test_docker.py
say "== As any other user"
in_container 12345:12345 python -m sspq env
in_container 12345:12345 bash -c '. scripts/setup_env.sh && setup_env && ! touch .venv/mine 2>/dev/null'
in_container 12345:12345 python examples/ResIBShift34-dorefa-s1.py --data digits --batch 16 \
  --wup_length 0 --step_size 1 --max_epoch 1 --log train_log/other
in_container 12345:12345 test -s /out/other/report.json
say "== Built and tested"
