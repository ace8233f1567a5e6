#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/vertex/run_pipeline.sh --project PROJECT --region REGION --template gs://BUCKET/FILE.json
                              --temp_location gs://BUCKET/FOLDER --input 'gs://BUCKET/FILES...'
                              --dataset gs://BUCKET/DATASET --image IMAGE --output gs://BUCKET/MODEL
                              [--parameter NAME=VALUE]... [...] [--dry_run] [-- TRAINER_FLAG...]

Starts deploy/vertex/pipeline.yaml on Vertex AI Pipelines, and returns as soon as Vertex AI has it. The pipeline makes
the dataset with Dataflow, trains on it, and uploads the model to the Model Registry. Each step begins when the step
before it has succeeded. Flags after -- go to the trainer, as with run.sh.

  --template FILE          the Flex Template, as deploy/dataflow/build_template.sh makes it
  --temp_location FOLDER   the folder for Dataflow's temporary files
  --input FILES            the text or the tables; several patterns have spaces between them
  --dataset FOLDER         the folder of the dataset
  --parameter NAME=VALUE   another flag of the pipeline, such as min_count=10 or overwrite=true; may be repeated
  --max_workers N          how many workers Dataflow starts at most (default: Dataflow chooses)
  --image IMAGE            the trainer's image, as build_image.sh builds it
  --output, --base_output, --machine_type, --accelerator, --accelerator_count, --replicas, --disk_gb, --timeout_hours,
  --spot, --network, --tensorboard
                           as in deploy/vertex/run.sh --help
  --service_account EMAIL  the account that all steps and jobs act as (default: those of the services)
  --labels KEY=VALUE,...   labels of the pipeline's run, which Vertex AI gives to its jobs too
  --model_name NAME        the model's name in the Model Registry (default: word2vec)
  --serving_image IMAGE    the container that serves the model (default: Vertex AI's own for TensorFlow on a CPU)
  --endpoint NUMBER        the endpoint that then answers with this model (default: none); gcloud ai endpoints list tells
                           its number
  --serving_machine_type TYPE
                           the machine that serves the model at the endpoint (default: n1-standard-4)
  --pipeline_root FOLDER   where Vertex AI keeps what the steps tell each other (default: pipeline_root in
                           --temp_location)
  --reuse                  skip each step that an earlier run has finished with the same values. Without this flag every
                           step runs, as the text may have changed
  --job_name NAME          the name of the run (default: word2vec and the time)
  --dry_run                print the request and the command, and start nothing
END
}

declare -A given=(
  [max_workers]=0 [model_name]=word2vec [serving_image]='' [endpoint]='' [serving_machine_type]=n1-standard-4
  [pipeline_root]='' [output]='' [base_output]='' [service_account]='' [labels]=''
  [job_name]=word2vec-$(date -u +%Y%m%d-%H%M%S)
)
parameters=() job_flags=() trainer_flags=() reuse=0
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --) shift && trainer_flags=("$@") && break ;;
    --help | -h) usage && exit ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --reuse) reuse=1 && shift && continue ;;
    --spot) job_flags+=("$1") && shift && continue ;;
    --parameter)
      check_value "$@"
      [[ $2 =~ ^[a-z_]+= ]] || fail "--parameter $2: expected NAME=VALUE, such as min_count=10"
      [[ ! $2 =~ ^(input|output)= ]] || fail "--parameter $2: expected --input and --dataset instead of it"
      parameters+=("$2") && shift 2 && continue
      ;;
    --project | --region | --image | --output | --base_output | --machine_type | --accelerator | \
      --accelerator_count | --replicas | --disk_gb | --timeout_hours | --service_account | --network | --tensorboard | \
      --labels | --job_name)
      check_value "$@"
      job_flags+=("$1" "$2")
      ;;
    --template | --temp_location | --input | --dataset | --max_workers | --model_name | --serving_image | --endpoint | \
      --serving_machine_type | --pipeline_root)
      check_value "$@"
      ;;
    *) fail "unknown argument $1: see --help; flags of the trainer come after --" ;;
  esac
  given[${1#--}]=$2
  shift 2
done
for flag in project region template temp_location input dataset image; do
  [[ ${given[$flag]:-} ]] || fail "--$flag is missing: see --help"
done
: "${given[pipeline_root]:=${given[temp_location]%/}/pipeline_root}"
# The components of the pipeline put these values between quotation marks of JSON, as they are.
for flag in template temp_location dataset pipeline_root; do
  [[ ${given[$flag]} =~ ^gs://[a-z0-9._-]+/[^[:cntrl:]\"\\]+$ ]] ||
    fail "--$flag ${given[$flag]}: expected gs://BUCKET/NAME, without \" and \\"
done
for flag in model_name serving_image serving_machine_type; do
  [[ ${given[$flag]} =~ ^[A-Za-z0-9._:/@-]*$ ]] ||
    fail "--$flag ${given[$flag]}: expected only letters, digits and . _ : / @ -"
done
[[ ${given[job_name]} =~ ^[a-z][-a-z0-9]{0,127}$ ]] ||
  fail "--job_name ${given[job_name]}: expected at most 128 lower case letters, digits and hyphens, and a letter first"
[[ ${given[max_workers]} =~ ^(0|[1-9][0-9]{0,3})$ ]] ||
  fail "--max_workers ${given[max_workers]}: expected a whole number from 1 to 9999"
[[ ${given[endpoint]} =~ ^[a-z0-9-]*$ ]] ||
  fail "--endpoint ${given[endpoint]}: expected its number, such as 1234567890"

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python=$(find_python)
template_parameters=("input=${given[input]}" "output=${given[dataset]}" "${parameters[@]}")
# The pipeline checks its own flags, as it will get them from the template.
if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  "$python" "$checkout/deploy/vertex/pipeline_job.py" --check "${template_parameters[@]}" -- "${trainer_flags[@]}" || exit
fi
# run.sh checks the machines and the trainer's flags, and prints the description of the training job.
"$checkout/deploy/vertex/run.sh" "${job_flags[@]}" --data "${given[dataset]}" --dry_run -- "${trainer_flags[@]}" \
  >"$folder/printed" 2>"$folder/errors" || {
  code=$?
  sed 's/^run[.]sh: /run_pipeline.sh: /' "$folder/errors" >&2
  exit "$code"
}
printed=$(<"$folder/printed")
spec=${printed%%$'\n\n'*}
model=${given[output]:-${given[base_output]%/}/model}
[[ $model =~ ^[^[:cntrl:]\"\\]+$ ]] || fail "--output $model: expected a name without \" and \\"

words=("spec=$spec" "reuse=$reuse" "saved_model=${model%/}/saved_model")
for name in project region template temp_location dataset max_workers model_name serving_image endpoint \
  serving_machine_type pipeline_root service_account labels job_name; do
  words+=("$name=${given[$name]}")
done
request=$("$python" "$checkout/deploy/vertex/pipeline_job.py" "${words[@]}" -- "${template_parameters[@]}") || exit 2
check_programs gcloud curl
# gcloud has no command for pipelines. It has the token, and a setting for another address of the service.
service=${CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM:-https://${given[region]}-aiplatform.googleapis.com/}
address=${service%/}/v1/projects/${given[project]}/locations/${given[region]}/pipelineJobs
address+=?pipelineJobId=${given[job_name]}
post=(curl --silent --show-error --fail-with-body --output /dev/null --header 'Content-Type: application/json')
if ((dry_run)); then
  printf '%s\n\n' "$request"
  show "${post[@]}" --header 'Authorization: Bearer TOKEN' --data @pipeline_job.json "$address"
else
  printf '%s\n' "$request" >"$folder/pipeline_job.json"
  token=$(gcloud auth print-access-token) || exit 1
  # The token goes through a file, as everyone on this machine can see the arguments of a program.
  printf 'Authorization: Bearer %s\n' "$token" >"$folder/header"
  post[5]=$folder/answer
  "${post[@]}" --header @"$folder/header" --data @"$folder/pipeline_job.json" "$address" 2>"$folder/errors" || {
    failure=1
    fail "Vertex AI did not take the pipeline: $(cat "$folder/errors" "$folder/answer" 2>/dev/null | tr -s '[:space:]' ' ')"
  }
fi

cat <<END

run         https://console.cloud.google.com/vertex-ai/locations/${given[region]}/pipelines/runs/${given[job_name]}?project=${given[project]}
dataset     ${given[dataset]}
model       $model
END
