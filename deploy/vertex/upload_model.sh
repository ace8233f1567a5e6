#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/vertex/upload_model.sh --project PROJECT --region REGION --model gs://BUCKET/MODEL [--endpoint NUMBER] [...]
                              [--dry_run]

Registers a trained model in the Model Registry of Vertex AI, with Vertex AI's own container for TensorFlow. With
--endpoint, the model then answers all requests to that endpoint.

  --model gs://...        the model directory, as python -m trainer.task --output wrote it
  --name NAME             the model's name in the registry (default: word2vec)
  --parent_model NUMBER   the registered model of which this one is a new version (default: none, it is a new model)
  --serving_image IMAGE   the container that serves the model (default: Vertex AI's own for TensorFlow on a CPU)
  --endpoint NUMBER       the endpoint; gcloud ai endpoints list tells its number
  --machine_type TYPE     the machine that serves the model (default: n1-standard-4)
  --replicas N            how many such machines Vertex AI starts, whatever the load (default: 1)
  --service_account EMAIL the account that the server acts as (default: one of Vertex AI's)
  --dry_run               print the commands and run none
END
}

declare -A given=(
  [name]=word2vec [parent_model]='' [serving_image]='' [endpoint]='' [machine_type]=n1-standard-4 [replicas]=1
  [service_account]=''
)
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --help | -h) usage && exit ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --project | --region | --model | --name | --parent_model | --serving_image | --endpoint | --machine_type | \
      --replicas | --service_account)
      check_value "$@"
      ;;
    *) fail "unknown argument $1: see --help" ;;
  esac
  given[${1#--}]=$2
  shift 2
done
for flag in project region model; do
  [[ ${given[$flag]:-} ]] || fail "--$flag is missing: see --help"
done
[[ ${given[model]} =~ ^gs://[a-z0-9._-]+/.+ ]] || fail "--model ${given[model]}: expected gs://BUCKET/FOLDER"
for flag in project region name serving_image machine_type service_account; do
  [[ ${given[$flag]} =~ ^[A-Za-z0-9._:/@-]*$ ]] ||
    fail "--$flag ${given[$flag]}: expected only letters, digits and . _ : / @ -"
done
for flag in parent_model endpoint; do
  [[ ${given[$flag]} =~ ^[a-z0-9-]*$ ]] || fail "--$flag ${given[$flag]}: expected its number, such as 1234567890"
done
[[ ${given[replicas]} =~ ^[1-9][0-9]{0,2}$ ]] ||
  fail "--replicas ${given[replicas]}: expected a whole number from 1 to 999"
[[ ${given[endpoint]} || ! ${given[service_account]} ]] ||
  fail "--service_account ${given[service_account]}: expected --endpoint with it"
check_programs gcloud

model=${given[model]%/}
if ((!dry_run)); then
  for file in metrics.json saved_model/saved_model.pb; do
    gcloud storage ls "$model/$file" >/dev/null ||
      fail "--model ${given[model]}: $file is missing there; expected a complete model directory"
  done
fi
image=${given[serving_image]}
[[ $image ]] ||
  image=$(cd "$checkout/deploy" && "$(find_python)" -c 'from common import SERVING_IMAGE; print(SERVING_IMAGE)')
where=(--project="${given[project]}" --region="${given[region]}")
upload=(
  gcloud ai models upload "${where[@]}" --display-name="${given[name]}" --container-image-uri="$image"
  --artifact-uri="$model/saved_model"
)
[[ ! ${given[parent_model]} ]] ||
  upload+=(--parent-model="projects/${given[project]}/locations/${given[region]}/models/${given[parent_model]}")
upload+=("--format=value(model)")
show "${upload[@]}"
registered=MODEL
((dry_run)) || registered=$("${upload[@]}")
[[ $registered ]] || { failure=1 && fail "gcloud did not name the model that it has uploaded: see the console"; }

if [[ ${given[endpoint]} ]]; then
  deploy=(
    gcloud ai endpoints deploy-model "${given[endpoint]}" "${where[@]}" --model="${registered##*/}"
    --display-name="${given[name]}" --machine-type="${given[machine_type]}" --min-replica-count="${given[replicas]}"
    --max-replica-count="${given[replicas]}" --traffic-split=0=100 # 0 is the model that is being deployed
  )
  [[ ! ${given[service_account]} ]] || deploy+=(--service-account="${given[service_account]}")
  run "${deploy[@]}"
fi

printf '\nmodel       %s\n\nNext:\n' "$registered"
if [[ ${given[endpoint]} ]]; then
  cat <<END
  echo '{"instances": ["some text"]}' > request.json
  gcloud ai endpoints predict ${given[endpoint]} $(printf '%q ' "${where[@]}")--json-request=request.json
END
else
  cat <<END
  gcloud ai endpoints create $(printf '%q ' "${where[@]}")--display-name=${given[name]}
  gcloud ai endpoints deploy-model ENDPOINT $(printf '%q ' "${where[@]}")--model=${registered##*/} \\
    --display-name=${given[name]} --machine-type=${given[machine_type]} --traffic-split=0=100
END
fi
