#!/usr/bin/env bash
# SSPQ34 in two steps: S1 trains 8-bit weights with float activations, S2 goes on from it with 8-bit
# activations. Killed at any moment and started again, it goes on from the last complete checkpoint.
#
#     bash SSQ_cifar100_TS.sh --demo                  on built-in images, minutes, no download
#     bash SSQ_cifar100_TS.sh --data DIR              on CIFAR-100, with the released arguments
#
# Options:
#   --demo           scikit-learn's handwritten digits and a short schedule
#   --data DIR       folder with cifar-100-python.tar.gz or its content; else $CIFAR100_PATH
#   --download       fetch CIFAR-100 into DIR if it is not there
#   --log DIR        folder for everything written (train_log/cifar100, train_log/demo)
#   --variant NAME   paper (default) or released
#   --seed N         seed of the run (default: 0)
#   --gpu LIST       GPUs to use
#   --float32        also train the float32 network, for comparison
#   --fresh          start over; what an earlier run left in the log folder goes when the new one
#                    has finished
#   --help           this text
set -euo pipefail

chain=SSQ_cifar100_TS.sh
flags="demo download float32 fresh"
values="data log variant seed gpu"
demo='' download='' float32='' log='' gpu=''
data=${CIFAR100_PATH:-} variant=paper seed=0
. "$(dirname "${BASH_SOURCE[0]}")/scripts/chain.sh"
parse_options "$@"

# All steps share these; they are told apart by their own defaults and the arguments below.
shared=(--variant "$variant" --seed "$seed")
if [ -n "$demo" ]; then
  refuse_in_demo data download
  data=digits
  log=${log:-$SSPQ_ROOT/train_log/demo}
  shared+=(--batch 16 --shift-lr-mult 0.01 --shift-normalize --shift-no-decay)
  s1=(--base_lr 0.05 --max_epoch 10 --wup_length 2 --step_size 3)
  s2=(--base_lr 0.01 --max_epoch 5 --wup_length 0 --step_size 2)
else
  [ -n "$data" ] || refuse "give the folder with CIFAR-100 by --data or \$CIFAR100_PATH, or run --demo"
  log=${log:-$SSPQ_ROOT/train_log/cifar100}
  s1=(--eta_min 1e-6 --wup_length 30 --step_size 30)
  s2=(--eta_min 1e-3 --wup_length 30 --step_size 30 --max_epoch 10)
fi
shared+=(--data "$data")
if [ -n "$download" ]; then shared+=(--download); fi
if [ -n "$gpu" ]; then shared+=(--gpu "$gpu"); fi

start_chain "$log"
if [ -n "$float32" ]; then
  run_step float32 "float32: the same network without quantizers" ResIBShift34-dorefa-s1.py \
    "${shared[@]}" "${s1[@]}" --bitw 32 --bita 32
fi
run_step s1 "S1: 8-bit weights" ResIBShift34-dorefa-s1.py "${shared[@]}" "${s1[@]}"
run_step s2 "S2: 8-bit weights and activations, from S1" ResIBShift34-dorefa-s2.py \
  "${shared[@]}" "${s2[@]}" --load "$log/s1"
end_chain
