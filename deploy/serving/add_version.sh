#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/serving/add_version.sh --model MODEL --to FOLDER [--number N] [--dry_run]

Copies the SavedModel of a trained model to FOLDER/N, where TensorFlow Serving takes it for a new version. A server that
watches the folder loads the new version, sends all requests to it, and then unloads the version before. The versions
that are there stay as they are: remove a folder when no server needs it any longer.

  --model MODEL   the model directory, as python -m trainer.task --output wrote it
  --to FOLDER     what the server calls --model_base_path; a folder of this machine or gs://BUCKET/FOLDER
  --number N      the number of the version (default: the time, such as 20260131235959). Servers take the largest one
  --dry_run       print the commands and run none
END
}

declare -A given=([number]=$(date -u +%Y%m%d%H%M%S))
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --help | -h) usage && exit ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --model | --to | --number) check_value "$@" ;;
    *) fail "unknown argument $1: expected --model, --to, --number or --dry_run" ;;
  esac
  given[${1#--}]=$2
  shift 2
done
for flag in model to; do
  [[ ${given[$flag]:-} ]] || fail "--$flag is missing: see --help"
  [[ ! ${given[$flag]} =~ ^[a-z0-9]+:// || ${given[$flag]} =~ ^gs://[a-z0-9._-]+/.+ ]] ||
    fail "--$flag ${given[$flag]}: expected a folder of this machine or gs://BUCKET/FOLDER"
done
[[ ${given[number]} =~ ^[1-9][0-9]{0,17}$ ]] ||
  fail "--number ${given[number]}: expected a whole number from 1 on, of at most 18 digits"

# A folder whose name begins with - would be taken for a flag by the programs below.
for flag in model to; do
  [[ ${given[$flag]} != -* ]] || given[$flag]=./${given[$flag]}
done
model=${given[model]%/} folder=${given[to]%/}
version=$folder/${given[number]}
uses_cloud=0
[[ $model$folder != *gs://* ]] || uses_cloud=1
((!uses_cloud)) || check_programs gcloud

if [[ $model != gs://* ]]; then
  for file in metrics.json saved_model/saved_model.pb; do
    [[ -f $model/$file ]] || fail "--model ${given[model]}: $file is missing there; expected a complete model directory"
  done
elif ((!dry_run)); then
  for file in metrics.json saved_model/saved_model.pb; do
    gcloud storage ls "$model/$file" >/dev/null ||
      fail "--model ${given[model]}: $file is missing there; expected a complete model directory"
  done
fi

if [[ $folder == gs://* ]]; then
  ((dry_run)) || ! gcloud storage ls "$version/" >/dev/null 2>&1 ||
    fail "--number ${given[number]}: $version is there already; expected the number of a new version"
  # A server fails to load a version without saved_model.pb, and tries it again later. So this file comes last.
  run gcloud storage rsync --recursive --exclude='^saved_model[.]pb$' "$model/saved_model" "$version"
  run gcloud storage cp "$model/saved_model/saved_model.pb" "$version/saved_model.pb"
else
  [[ ! -e $version ]] || fail "--number ${given[number]}: $version is there already; expected a new version's number"
  # Servers look at folders whose names are numbers. So they see the new version when it is complete.
  coming=$folder/coming-${given[number]}
  failure=1
  ((dry_run)) || [[ ! -e $coming ]] || fail "$coming is there: another copy is under way, or one was killed; remove it then"
  run mkdir -p "$coming"
  ((dry_run)) || trap 'rm -rf "$coming"' EXIT
  if ((uses_cloud)); then
    run gcloud storage rsync --recursive "$model/saved_model" "$coming"
  else
    run cp -R "$model/saved_model/." "$coming"
  fi
  run mv -T "$coming" "$version"
fi

cat <<END

version     $version

Next:
  tensorflow_model_server --port=8500 --rest_api_port=8501 --model_name=word2vec --model_base_path=$(
  [[ $folder == gs://* ]] && printf %q "$folder" || printf %q "$(realpath -m "$folder")"
)
  curl -d '{"instances": ["some text"]}' http://localhost:8501/v1/models/word2vec:predict
END
