#!/usr/bin/env bash
# Runs the tests; makes the environment they need first. Arguments go to pytest.
#
#     bash tests/run.sh [pytest arguments]
#
# Without arguments, or with CI=true, formatter, linter and type checker run as well.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/setup_env.sh"
setup_env dev horovod
cd "$SSPQ_ROOT"

if [ $# -eq 0 ] || [ "${CI:-}" = true ]; then
  bin=$(dirname "$PYTHON")
  "$bin/ruff" format --check .
  "$bin/ruff" check .
  "$bin/mypy"
  find custom_ops tests -name '*.cc' -o -name '*.h' -o -name '*.cu' | xargs "$bin/clang-format" --dry-run -Werror
fi
# Most of the time goes into Python that builds graphs, one core each. A file stays in one process,
# since its tests share what they train.
TF_CPP_MIN_LOG_LEVEL=2 exec "$PYTHON" -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
