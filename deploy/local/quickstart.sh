#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
deploy/local/quickstart.sh [--input GLOB...] [--output DIR] [--words WORD...]

From a fresh checkout to word vectors, on this machine: installs the project into .venv, turns text into a dataset of
skip-grams, trains on it, and prints the nearest neighbours of some words. May be run again.

  --input GLOB...  your own text files (plain, .gz, .bz2), a sentence or document a line; without it, the documentation
                   of the Python packages that are installed, a million words of English
  --output DIR     where everything goes (default: quickstart)
  --words WORD...  whose neighbours to print; or one sum, such as: rows - row + column
END
}

fail() {
  echo "quickstart.sh: $*" >&2
  exit 2
}

inputs=() words=() output=quickstart
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  flag=$1 values=()
  shift
  while (($#)) && [[ $1 != --* ]]; do
    values+=("$1")
    shift
  done
  case $flag in
    --help | -h) usage && exit ;;
    --input | --output | --words) [[ ${values[0]:-} ]] || fail "$flag has no value" ;;
    *) fail "unknown argument $flag: expected --input, --output, --words or --help" ;;
  esac
  case $flag in
    --input) inputs=("${values[@]}") ;;
    --output) output=${values[0]} && ((${#values[@]} == 1)) || fail "--output ${values[*]}: expected one folder" ;;
    --words) words=("${values[@]}") ;;
  esac
done

export TF_CPP_MIN_LOG_LEVEL=3
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$checkout/deploy/local/setup_venv.sh" pipeline,trainer
python=$checkout/.venv/bin/python

run() { # shows a command and runs it
  printf '\n$ python -m'
  printf ' %q' "$@"
  echo
  "$python" -P -m "$@" # -P: whatever the current folder holds, the packages are the checkout's
}

pipeline_flags=() trainer_flags=() sum=()
if ((${#inputs[@]} == 0)); then
  mkdir -p "$output"
  echo "gathering the documentation of what is installed"
  "$python" "$checkout/deploy/local/gather_docstrings.py" "$output/corpus.txt"
  inputs=("$output/corpus.txt")
  pipeline_flags=(--min_count 10) trainer_flags=(--epochs 10) # a million words is little
  ((${#words[@]})) || words=(string month matrix server exception password) sum=(rows - row + column)
fi

run pipeline --input "${inputs[@]}" --output "$output/dataset" --overwrite "${pipeline_flags[@]}"
run trainer.task --data "$output/dataset" --output "$output/model" --overwrite "${trainer_flags[@]}"

# The most frequent words say little: the first of five letters and more after a hundred others are worth a look.
if ((${#words[@]} == 0)); then
  mapfile -t words < <(
    awk -F '\t' 'NR > 102 && length($1) > 4 { print $1; if (++n == 6) exit }' "$output/dataset/vocabulary.tsv"
  )
fi
neighbors() { run trainer.neighbors --vectors "$output/model/vectors.bin" --top 5 "$@"; }
((${#words[@]} == 0)) || neighbors "${words[@]}"
((${#sum[@]} == 0)) || neighbors "${sum[@]}"

quoted=$(printf %q "$output")
cat <<END

text         ${inputs[*]}
dataset      $output/dataset
vectors      $output/model/vectors.bin (word2vec and gensim), vectors.tsv and metadata.tsv (projector.tensorflow.org)

Next:
  source $checkout/.venv/bin/activate
  python -m trainer.neighbors --vectors $quoted/model/vectors.bin WORD...
  tensorboard --logdir $quoted/model/logs
  $0 --input 'your/*.txt' --output mine
END
