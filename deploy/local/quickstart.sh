#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/local/quickstart.sh [--input GLOB...] [--output DIR] [--words WORD...]

Makes word vectors from a fresh checkout, on this machine. The script installs the project into .venv, turns text into a
dataset of skip-grams (pairs of a word and a word near it), trains vectors on the dataset, and prints the nearest
neighbours of some words. You may run it again.

  --input GLOB...  your own text files (plain, .gz, .bz2) with one sentence or document per line. Without this flag, the
                   text is the documentation of the Python packages that are installed: a million words of English
  --output DIR     the folder for text, dataset and vectors (default: quickstart)
  --words WORD...  print the neighbours of these words, or of one sum such as: rows - row + column
END
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
    --input | --output | --words) check_value "$flag" "${values[@]}" ;;
    *) fail "unknown argument $flag: expected --input, --output, --words or --help" ;;
  esac
  case $flag in
    --input) inputs=("${values[@]}") ;;
    --output) output=${values[0]} && ((${#values[@]} == 1)) || fail "--output ${values[*]}: expected one folder" ;;
    --words) words=("${values[@]}") ;;
  esac
done

export TF_CPP_MIN_LOG_LEVEL=3
"$checkout/deploy/local/setup_venv.sh" pipeline,trainer
python=$checkout/.venv/bin/python

run_module() { # MODULE FLAG...: shows the command as the user would type it, and runs it
  echo
  show python -m "$@"
  # With -P, Python imports the packages of the checkout, whatever the current folder holds.
  "$python" -P -m "$@"
}

pipeline_flags=() trainer_flags=() sum=()
if ((${#inputs[@]} == 0)); then
  mkdir -p "$output"
  echo "gathering the documentation of the Python packages that are installed"
  "$python" "$checkout/deploy/local/gather_docstrings.py" "$output/corpus.txt"
  inputs=("$output/corpus.txt")
  pipeline_flags=(--min_count 10) trainer_flags=(--epochs 10) # a million words is a small text
  ((${#words[@]})) || words=(string month matrix server exception password) sum=(rows - row + column)
fi

run_module pipeline --input "${inputs[@]}" --output "$output/dataset" --overwrite "${pipeline_flags[@]}"
run_module trainer.task --data "$output/dataset" --output "$output/model" --overwrite "${trainer_flags[@]}"

# The most frequent words are words like "the", whose neighbours say little. So the script skips the first hundred words
# of the vocabulary, and takes the next six that have five letters or more.
if ((${#words[@]} == 0)); then
  mapfile -t words < <(
    awk -F '\t' 'NR > 102 && length($1) > 4 { print $1; if (++n == 6) exit }' "$output/dataset/vocabulary.tsv"
  )
fi
neighbors() { run_module trainer.neighbors --vectors "$output/model/vectors.bin" --top 5 "$@"; }
((${#words[@]} == 0)) || neighbors "${words[@]}"
((${#sum[@]} == 0)) || neighbors "${sum[@]}"

quoted=$(printf %q "$output")
cat <<END

text         ${inputs[*]}
dataset      $output/dataset
vectors      $output/model/vectors.bin (word2vec and gensim), vectors.tsv and metadata.tsv (projector.tensorflow.org)
report       $output/model/report.html (open it in a browser)

Next:
  source $(printf %q "$checkout")/.venv/bin/activate
  python -m trainer.neighbors --vectors $quoted/model/vectors.bin WORD...
  tensorboard --logdir $quoted/model/logs
  $(printf %q "$0") --input 'your/*.txt' --output mine
END
