#!/usr/bin/env bash
# Adds NVIDIA's package repositories for Ubuntu 18.04: CUDA's, and the one of cuDNN 7. Each is held to
# its own signing key, by fingerprint. Needs curl and gpg.
set -euo pipefail

server=https://developer.download.nvidia.com/compute

# add NAME PATH KEY FINGERPRINT: the key is the file KEY in the repository server/PATH.
add() {
  local url=$server/$2/repos/ubuntu1804/x86_64 keyring=/usr/share/keyrings/nvidia-$1.gpg
  GNUPGHOME=$(mktemp -d)
  export GNUPGHOME
  curl -fsSL "$url/$3" | gpg --batch --quiet --import
  gpg --batch --export "$4" >"$keyring"
  rm -rf "$GNUPGHOME"
  if [ ! -s "$keyring" ]; then
    echo "nvidia_repositories.sh: $url/$3 has no key with the fingerprint $4" >&2
    return 1
  fi
  echo "deb [signed-by=$keyring] $url /" >"/etc/apt/sources.list.d/nvidia-$1.list"
}

add cuda cuda 3bf863cc.pub EB693B3035CD5710E231E123A4B469963BF863CC
add machine-learning machine-learning 7fa2af80.pub AE09FE4BBD223A84B2CCFCE3F60F4B3D7FA2AF80
