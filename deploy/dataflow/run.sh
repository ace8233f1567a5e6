#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/dataflow/run.sh --project PROJECT --region REGION --temp_location gs://BUCKET/FOLDER
                       --input GLOB... --output gs://BUCKET/DATASET [--sdk_container_image IMAGE] [--dry_run] [FLAG...]

Submits the pipeline of this checkout to Dataflow, and returns as soon as Dataflow has the job. The dataset is complete
once manifest.json is in it. The script takes every flag of `python -m pipeline --help` and of Beam, such as
--max_num_workers 50. It uses the virtual environment that is active. If none is active, it uses .venv of the checkout,
which it makes where it is missing.

  --sdk_container_image IMAGE  the image in which workers run, as deploy/image/build.sh builds it; it has everything
                               installed. Without this flag, a worker starts in Beam's own image and first installs the
                               packages of deploy/constraints.txt and this project. That takes some minutes, and workers
                               need access to the internet
  --job_name NAME              the job's name (default: word2vec and the time)
  --dry_run                    print the commands and run none
END
}

flags=() given=' ' image='' job_name=''
while (($#)); do
  case $1 in
    --help | -h) usage && exit ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --runner | --runner=*) fail "$1: this script is for DataflowRunner and sets the flag itself; leave it out" ;;
    --sdk_container_image | --job_name) check_value "$@" ;;
    --sdk_container_image= | --job_name=) check_value "${1%=}" ;;
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
  fail "--job_name $job_name: expected lower case letters, digits and hyphens, and a letter first"

python=${VIRTUAL_ENV:-$checkout/.venv}/bin/python
[[ ${VIRTUAL_ENV:-} ]] || run "$checkout/deploy/local/setup_venv.sh" pipeline,gcp
own=(--runner=DataflowRunner)
[[ $job_name ]] || own+=(--job_name "word2vec-$(date -u +%Y%m%d-%H%M%S)")
if [[ $image ]]; then
  built_for=$(sed -n 's/^ARG BASE=python:\([0-9.]*\)-.*/\1/p' "$checkout/deploy/image/Dockerfile")
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo "$built_for")
  [[ $version == "$built_for" ]] ||
    echo "run.sh: $python is Python $version, but the image is for Python $built_for: its workers cannot load the job" >&2
else
  requirements=$(mktemp -d)/requirements.txt
  trap 'rm -r "$(dirname "$requirements")"' EXIT
  printf '$ %q %q > %q\n' "$python" "$checkout/deploy/dataflow/worker_requirements.py" "$requirements"
  ((dry_run)) || "$python" "$checkout/deploy/dataflow/worker_requirements.py" >"$requirements"
  # With "skip", Beam downloads no packages here. Workers get them from the package index themselves.
  own+=(--setup_file "$checkout/setup.py" --requirements_file "$requirements" --requirements_cache skip)
fi
# With -P, Python imports the packages of the checkout, whatever the current folder holds.
run "$python" -P -m pipeline "${own[@]}" "${flags[@]}"
