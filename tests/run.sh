#!/usr/bin/env bash
# Lints and tests in a .venv of the checkout. Arguments are pytest's: tests/run.sh tests/pipeline -k shard
# With --integration first: the tests that need a Flink cluster, Cloud Storage's emulator or workers of their own, which
# they fetch to build/ the first time; Java 17, Maven and Go must be there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export TF_CPP_MIN_LOG_LEVEL=3
deploy/local/setup_venv.sh pipeline,trainer,test

[[ ${1:-} != --integration ]] || set -- tests/integration "${@:2}"

.venv/bin/python -m ruff check .
.venv/bin/python -m pytest "$@"
