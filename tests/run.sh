#!/usr/bin/env bash
# Runs the tests; makes the environment they need first.
#
#     bash tests/run.sh                 formatters, linter, type checker and all but the slow tests
#     bash tests/run.sh --all           the same with the slow tests, Horovod (which is compiled where
#                                       no wheel of it is kept) and the coverage of sspq/
#     bash tests/run.sh ARGUMENT ...    the tests alone that these arguments of pytest choose
#
# Arguments of pytest may follow --all too. With CI=true formatters, linter and type checker always
# run.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup_env.sh"
extras=(dev) checks=${CI:-}
if [ $# -eq 0 ]; then
  checks=true
  set -- -m "not slow"
elif [ "$1" = --all ]; then
  shift
  checks=true
  extras+=(horovod)
  # What is least, and what is shown of it, is in pyproject.toml.
  set -- --cov=sspq --cov-branch --cov-config=pyproject.toml --cov-report=term "$@"
fi
setup_env "${extras[@]}"
cd "$SSPQ_ROOT"

if [ "$checks" = true ]; then
  bin=$(dirname "$PYTHON")
  "$bin/ruff" format --check .
  "$bin/ruff" check .
  "$bin/mypy"
  find custom_ops tests benchmarks -name '*.cc' -o -name '*.h' -o -name '*.cu' | xargs "$bin/clang-format" --dry-run -Werror
fi
# Most of the time goes into Python that builds graphs, one core each. A file stays in one process,
# since its tests share what they train.
TF_CPP_MIN_LOG_LEVEL=2 exec "$PYTHON" -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
