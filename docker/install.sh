#!/usr/bin/env bash
# The steps that both Dockerfiles share, in their order:
#
#     install.sh user ID     as root: the user sspq, /opt/sspq for the package and /out for logs
#     install.sh packages    as sspq: .venv with what requirements/ says
#     install.sh op          as sspq: the op, and Python's bytecode; prints what the image has
set -euo pipefail

# NVIDIA's containers may hold every pip to versions of their own; those that matter to their
# TensorFlow are held by setup_env.sh.
export PIP_CONSTRAINT='' PIP_NO_CACHE_DIR=1

cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in
  user)
    useradd --uid "$2" --user-group --create-home sspq
    chown -R sspq:sspq .
    # For every user: `docker run --user` gives any number.
    install -d -m 1777 /out
    ln -s /out train_log
    ;;
  packages)
    . scripts/setup_env.sh
    setup_packages
    ;;
  op)
    . scripts/setup_env.sh
    setup_env
    # A container that is removed after its run would compile all of it again in every run.
    "$PYTHON" -m compileall -q -j 0 .venv sspq examples
    "$PYTHON" -m sspq env
    ;;
  *)
    echo "install.sh: expected user, packages or op, got '${1:-}'" >&2
    exit 2
    ;;
esac
