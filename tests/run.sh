#!/usr/bin/env bash
# Checks style and types, then runs the tests, all in the checkout's .venv. The arguments are pytest's:
#
#     tests/run.sh tests/pipeline -k shard
#
# tests/run.sh --integration runs the tests that need a Flink cluster, an emulator of Cloud Storage or workers of their
# own. It downloads or builds these in build/ the first time, which takes Java 17, Maven and Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export TF_CPP_MIN_LOG_LEVEL=3
deploy/local/setup_venv.sh pipeline,trainer,test

.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
.venv/bin/python -m mypy
if [[ ${1:-} == --integration ]]; then
  set -- tests/integration "${@:2}"
else
  # loadfile gives each file to one process, because the tests of a file share fixtures that take long.
  set -- --numprocesses=auto --maxprocesses=4 --dist=loadfile "$@"
fi
.venv/bin/python -m pytest "$@"
