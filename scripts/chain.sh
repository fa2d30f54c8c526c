# Training steps as one command. For the scripts that chain them, which set `chain` to their own
# file name, `flags` and `values` to the options they take without and with a value, and then:
#
#     . scripts/chain.sh
#     parse_options "$@"                    --data DIR sets $data, --demo sets $demo to 1
#     refuse_in_demo option...              refuses what would be passed over
#     start_chain "$log"                    makes the environment and the folder; with --fresh it
#                                           puts $chain_steps and $chain_outputs there aside
#     run_step s1 "title" script options... trains into the folder's s1, unless that is finished
#     end_chain                             prints the table, writes report.json and the pictures,
#                                           and removes what was put aside
#
# Their first comment is what --help prints.

. "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

chain_steps="float32 s1 s2"
chain_outputs="report.json curves.png"
# Within the log folder: what was there before --fresh, until the chain has finished.
chain_aside=.before-fresh

usage() { sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p;}' "$SSPQ_ROOT/$chain"; }
refuse() { say "$chain: $*"; exit 2; }

given=''
parse_options() {
  local option name
  while [ $# -gt 0 ]; do
    option=$1
    name=${option#--}
    name=${name//-/_}
    if [ "$option" = -h ] || [ "$option" = --help ]; then
      usage
      exit 0
    elif [[ $option != --* || $option == *[[:space:]]* ]]; then
      refuse "unknown option '$option'; see --help"
    elif [[ " $flags " == *" $name "* ]]; then
      printf -v "$name" 1
    elif [[ " $values " == *" $name "* ]]; then
      [[ $# -ge 2 && -n $2 && $2 != --* ]] || refuse "$option needs a value"
      printf -v "$name" '%s' "$2"
      shift
    else
      refuse "unknown option '$option'; see --help"
    fi
    given+=" $name "
    shift
  done
}

# A folder that the environment names is no wish for this run.
refuse_in_demo() {
  local name
  for name in "$@"; do
    [[ $given != *" $name "* ]] || refuse "--demo brings images of its own: drop --${name//_/-}"
  done
}

start_chain() {
  chain_log=$1
  setup_env
  export SSPQ_DIE_WITH_PARENT=1 TF_CPP_MIN_LOG_LEVEL=2
  mkdir -p -- "$chain_log" || refuse "--log: cannot make the folder '$chain_log'"
  if [ -n "${fresh:-}" ]; then put_aside; fi
}

# What was trained before is not removed until its successor is there: a wrong option, or data that
# is missing, shows only when its step begins.
put_aside() {
  local name aside=$chain_log/$chain_aside
  for name in $chain_steps; do
    if [ -e "$chain_log/$name/.lock" ] && ! flock -n "$chain_log/$name/.lock" true; then
      refuse "--fresh: another process is writing to $chain_log/$name"
    fi
  done
  if [ -e "$aside" ]; then
    # Of an earlier --fresh that did not come to its end.
    for name in $chain_steps $chain_outputs; do rm -rf "${chain_log:?}/$name"; done
    return
  fi
  for name in $chain_steps $chain_outputs; do
    if [ -e "$chain_log/$name" ]; then
      mkdir -p "$aside"
      mv "$chain_log/$name" "$aside"
    fi
  done
  if [ -e "$aside" ]; then say "until the new run has finished, the old one is in $aside"; fi
}

run_step() {
  local step=$1 title=$2 script=$3
  shift 3
  say "== $title"
  "$PYTHON" "$SSPQ_ROOT/examples/$script" "$@" --log "$chain_log/$step" --resume
}

end_chain() {
  echo
  "$PYTHON" -m sspq report "$chain_log"
  rm -rf "${chain_log:?}/$chain_aside"
}
