#!/usr/bin/env bash
# Lints and tests in a .venv of the checkout. Arguments are pytest's: tests/run.sh tests/pipeline -k shard
# With --integration first: the tests that need a Flink cluster, Cloud Storage's emulator or workers of their own, which
# they fetch to build/ the first time; Java 17, Maven and Go must be there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export TF_CPP_MIN_LOG_LEVEL=3
deploy/local/setup_venv.sh pipeline,trainer,test

.venv/bin/python -m ruff check .
if [[ ${1:-} == --integration ]]; then
  set -- tests/integration "${@:2}"
else
  set -- --numprocesses=auto --maxprocesses=4 --dist=loadfile "$@" # a file's tests share what is slow to make
fi
.venv/bin/python -m pytest "$@"
