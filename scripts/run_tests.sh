#!/usr/bin/env bash
# Run the whole test suite on a fresh machine: makes a virtual environment if none is active, installs, lints, tests.
#
#   bash scripts/run_tests.sh [PYTEST_OPTION ...]
#
# For example: bash scripts/run_tests.sh -m "not slow"
# Two processes share the tests (pytest-xdist); -n 0 runs them in one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[[ "${1:-}" != -h && "${1:-}" != --help ]] || { show_usage "$0"; exit 0; }
prepare_environment requirements.txt requirements-dev.txt requirements-extras.txt requirements-engines.txt requirements-web.txt
cd "$root"
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m pytest -n 2 --dist worksteal "$@"
