#!/usr/bin/env bash
# Lints and tests in a .venv of the checkout. Arguments are pytest's: tests/run.sh tests/pipeline -k shard
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export TF_CPP_MIN_LOG_LEVEL=3
deploy/local/setup_venv.sh pipeline,trainer,test

.venv/bin/python -m ruff check .
.venv/bin/python -m pytest "$@"
