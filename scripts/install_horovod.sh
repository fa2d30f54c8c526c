#!/usr/bin/env bash
# Puts Horovod into .venv, for --trainer horovod: compiles it for the TensorFlow there, with Gloo,
# which takes about six minutes on two cores. The wheel is kept in ~/.cache/sspq/wheels and used
# again for the same versions.
#
#     bash scripts/install_horovod.sh
#
# Between GPUs, gradients take the way that HOROVOD_GPU_OPERATIONS says (NCCL, which must be
# installed), and go through the host's memory without it.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
setup_env horovod
