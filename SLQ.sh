#!/usr/bin/env bash
# SLQ: a trained network's weights are clustered, and frozen at their clusters' centres stage by
# stage, while the rest is trained on. Killed at any moment and started again, it goes on from the
# last complete checkpoint.
#
#     bash SLQ.sh --data DIR --load alexnet.npz      AlexNet at 5 bits in the five released stages
#     bash SLQ.sh --demo                             LeNet on built-in images, in minutes
#
# bvlc_alexnet.caffemodel becomes the .npz file by: python -m sspq convert-caffe. At the end there
# are a table, pictures of the stages and layers, and the packed network.
#
# Options:
#   --data DIR        ILSVRC folder, with train and val in it; else $Imagenet_Path
#   --load PATH       trained network: a checkpoint, a log folder or an .npz file
#   --demo            trains the float32 network first, on scikit-learn's handwritten digits
#   --log DIR         folder for everything written (train_log/slq, train_log/slq-demo)
#   --model NAME      alexnet (default; the demo's is lenet), resnet18, resnet34, lspq50 or sspq34
#   --method NAME     slq (default), or mlq: ternary weights, layer by layer
#   --bits N          bits of the weights, 2 to 5 (default: 5)
#   --partition NAME  clusters that are frozen first: magnitude (default), loss or boundary
#   --seed N          seed of the run (default: 0)
#   --batch N         number of images a step over all GPUs (default: that of the network)
#   --gpu LIST        GPUs to use
#   --trainer NAME    replicated (default), parameter-server or async
#   --fresh           start over; what an earlier run left in the log folder goes when the new one
#                     has finished
#   --help            this text
set -euo pipefail

chain=SLQ.sh
flags="demo fresh"
values="data load log model method bits partition seed batch gpu trainer"
demo='' data='' load='' log='' model='' method=slq bits='' partition='' batch='' gpu='' trainer=''
seed=0
. "$(dirname "${BASH_SOURCE[0]}")/scripts/chain.sh"
parse_options "$@"
chain_steps=slq
chain_outputs="report.json stages.png layers model.sspq.safetensors"

shared=(--seed "$seed")
quantize=(--method "$method")
if [ -n "$demo" ]; then
  refuse_in_demo data
  if [ -n "$load" ]; then refuse "--demo trains the network that it quantizes: drop --load"; fi
  chain_steps="float32 slq"
  model=${model:-lenet}
  data=digits
  log=${log:-$SSPQ_ROOT/train_log/slq-demo}
  load=$log/float32
  # As the other demos train the shifts, but for LeNet, which has none.
  if [ "$model" = sspq34 ]; then
    shared+=(--batch 16 --shift-lr-mult 0.01 --shift-normalize --shift-no-decay)
    float32=(--base_lr 0.05 --stage-epochs 10 --rate-step 6)
    quantize+=(--base_lr 0.01 --stage-epochs 2 --rate-step 1)
  elif [ "$model" = lenet ]; then
    float32=()
  else
    refuse "--demo is for lenet and sspq34, got '$model'"
  fi
elif [ -z "$load" ]; then
  refuse "give the trained network by --load and its images by --data, or run --demo"
fi
model=${model:-alexnet}
log=${log:-$SSPQ_ROOT/train_log/slq}
shared+=(--model "$model")
for option in data batch gpu trainer; do
  if [ -n "${!option}" ]; then shared+=("--$option" "${!option}"); fi
done
for option in bits partition; do
  if [ -n "${!option}" ]; then quantize+=("--$option" "${!option}"); fi
done

start_chain "$log"
if [ -n "$demo" ]; then
  run_step float32 "float32: the network that is quantized" slq.py \
    "${shared[@]}" --method float32 "${float32[@]}"
fi
run_step slq "$method: stage by stage" slq.py "${shared[@]}" "${quantize[@]}" --load "$load"
"$PYTHON" -m sspq pack "$log/slq" -o "$log/model.sspq.safetensors"
end_chain
