#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
deploy/dataflow/run.sh --project PROJECT --region REGION --temp_location gs://BUCKET/FOLDER
                       --input GLOB... --output gs://BUCKET/DATASET [--sdk_container_image IMAGE] [--dry_run] [FLAG...]

Submits the pipeline to Dataflow, from this checkout, and returns as soon as the job is there; the dataset is complete
once manifest.json is in it. Takes every flag of `python -m pipeline --help` and of Beam, such as --max_num_workers 50.
Works in the virtual environment that is active; if none is, in .venv of the checkout, which it makes.

  --sdk_container_image IMAGE  what workers run in, an image of build_template.sh, which has everything installed.
                               Without it, a worker starts with Beam's image and first installs the packages of
                               deploy/constraints.txt and this project: some minutes, for which it needs the internet
  --job_name NAME              default: word2vec and the time
  --dry_run                    print the commands, run none
END
}

fail() {
  echo "run.sh: $*" >&2
  exit 2
}

flags=() given=' ' image='' job_name='' dry_run=0
while (($#)); do
  case $1 in
    --help | -h) usage && exit ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --runner | --runner=*) fail "$1: this script is for DataflowRunner, and names it itself" ;;
    --sdk_container_image | --job_name) [[ ${2:-} && $2 != --* ]] || fail "$1 has no value" ;;
    --sdk_container_image= | --job_name=) fail "${1%=} has no value" ;;
  esac
  case $1 in
    --sdk_container_image) image=$2 ;;
    --sdk_container_image=*) image=${1#*=} ;;
    --job_name) job_name=$2 ;;
    --job_name=*) job_name=${1#*=} ;;
  esac
  [[ $1 != --* ]] || given+="${1%%=*} "
  flags+=("$1")
  shift
done
for flag in --project --region --temp_location --input --output; do
  [[ $given == *" $flag "* ]] || fail "$flag is missing: see --help"
done
[[ -z $job_name || $job_name =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] ||
  fail "--job_name $job_name: expected lower case letters, digits and hyphens, a letter first"

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${VIRTUAL_ENV:-$checkout/.venv}/bin/python

run() { # shows a command and runs it
  printf '$'
  printf ' %q' "$@"
  echo
  ((dry_run)) || "$@"
}

[[ ${VIRTUAL_ENV:-} ]] || run "$checkout/deploy/local/setup_venv.sh" pipeline,gcp
own=(--runner=DataflowRunner)
[[ $job_name ]] || own+=(--job_name "word2vec-$(date -u +%Y%m%d-%H%M%S)")
if [[ $image ]]; then
  built_for=$(sed -n 's/^ARG PYTHON_VERSION=//p' "$checkout/deploy/dataflow/Dockerfile")
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo "$built_for")
  [[ $version == "$built_for" ]] ||
    echo "run.sh: $python is of Python $version, images of build_template.sh of $built_for: workers cannot load the job" >&2
else
  requirements=$(mktemp -d)/requirements.txt
  trap 'rm -r "$(dirname "$requirements")"' EXIT
  printf '$ %q %q > %q\n' "$python" "$checkout/deploy/dataflow/worker_requirements.py" "$requirements"
  ((dry_run)) || "$python" "$checkout/deploy/dataflow/worker_requirements.py" >"$requirements"
  # Nothing is downloaded here to be staged: workers get the packages from the index.
  own+=(--setup_file "$checkout/setup.py" --requirements_file "$requirements" --requirements_cache skip)
fi
run "$python" -P -m pipeline "${own[@]}" "${flags[@]}" # -P: the packages are the checkout's
