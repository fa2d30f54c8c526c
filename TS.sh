#!/usr/bin/env bash
# L-SSPQ50 on ImageNet in two steps: S1 trains 4-bit kernels with float activations for 105 epochs,
# S2 goes on from it with 8-bit activations for one. Killed at any moment and started again, it goes
# on from the last complete checkpoint.
#
#     bash TS.sh --data DIR         on ImageNet, with the released arguments
#     bash TS.sh --demo             on a few real images of 64 pixels and 10 classes, in minutes
#
# Options:
#   --data DIR       ILSVRC folder, with train and val in it; else $Imagenet_Path
#   --demo           writes scikit-learn's handwritten digits as a small ILSVRC folder and trains on
#                    that with a short schedule
#   --log DIR        folder for everything written (train_log/imagenet, train_log/imagenet-demo)
#   --meta-dir DIR   folder of the official files that tell the classes' order and labels
#   --variant NAME   paper (default) or released
#   --seed N         seed of the run (default: 0)
#   --batch N        number of images a step over all GPUs (default: 256, in the demo 32)
#   --gpu LIST       GPUs to use
#   --trainer NAME   async (default), replicated or parameter-server
#   --symbolic       read images by tf.data
#   --skip-bad       evaluate without the damaged files
#   --fresh          start over; what an earlier run left in the log folder goes when the new one
#                    has finished
#   --help           this text
set -euo pipefail

chain=TS.sh
flags="demo symbolic skip_bad fresh"
values="data meta_dir log variant seed batch gpu trainer"
demo='' meta_dir='' symbolic='' skip_bad='' log='' batch='' gpu=''
data=${Imagenet_Path:-} variant=paper seed=0 trainer=async
. "$(dirname "${BASH_SOURCE[0]}")/scripts/chain.sh"
parse_options "$@"

shared=(--variant "$variant" --seed "$seed" --trainer "$trainer")
s1=()
if [ -n "$demo" ]; then
  refuse_in_demo data meta_dir
  log=${log:-$SSPQ_ROOT/train_log/imagenet-demo}
  data=$log/images
  batch=${batch:-32}
  # A mirrored digit is none, and in less than half of one there is not enough to tell it by.
  shared+=(--image-size 64 --min-area 0.5 --no-mirror --no-colour)
  s1=(--base_lr 0.4 --epochs 7 --wup_length 0 --step_size 6)
elif [ -z "$data" ]; then
  refuse "give the ILSVRC folder by --data or \$Imagenet_Path, or run --demo"
fi
log=${log:-$SSPQ_ROOT/train_log/imagenet}
shared+=(--data "$data" --batch "${batch:-256}")
if [ -n "$symbolic" ]; then shared+=(--symbolic); fi
if [ -n "$skip_bad" ]; then shared+=(--skip-bad); fi
if [ -n "$meta_dir" ]; then shared+=(--meta-dir "$meta_dir"); fi
if [ -n "$gpu" ]; then shared+=(--gpu "$gpu"); fi

start_chain "$log"
if [ -n "$demo" ]; then "$PYTHON" -m sspq demo-images "$data"; fi
run_step s1 "S1: 4-bit kernels" imagenet-SSQ_S1.py "${shared[@]}" "${s1[@]}"
run_step s2 "S2: 4-bit kernels and 8-bit activations, from S1" imagenet-SSQ_S2.py \
  "${shared[@]}" --load "$log/s1"
end_chain
