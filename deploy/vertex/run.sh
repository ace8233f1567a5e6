#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/vertex/run.sh --project PROJECT --region REGION --image IMAGE --data gs://BUCKET/DATASET
                     (--output gs://BUCKET/MODEL | --base_output gs://BUCKET/FOLDER) [...] [--dry_run]
                     [-- TRAINER_FLAG...]

Submits the trainer to Vertex AI as a custom job, and returns as soon as Vertex AI has the job. The model is complete
once metrics.json is in it. Flags after -- go to the trainer: `python -m trainer.task --help` lists them. The script
adds --resume, so that the trainer continues from its last checkpoint if Vertex AI starts it again. It does not add
--resume to --overwrite, which trains from the beginning.

  --image IMAGE            the trainer's image, as build_image.sh builds it
  --output gs://...        the folder of the model
  --base_output gs://...   give this folder instead of --output to keep the model, the checkpoints and the logs apart:
                           Vertex AI tells the trainer to write them to its subfolders model, checkpoints and logs
  --machine_type TYPE      the machine (default: g2-standard-8)
  --accelerator TYPE       the type of the machine's GPUs (default: NVIDIA_L4); with "none" the machine has no GPU
  --accelerator_count N    how many GPUs the machine has (default: 1). The trainer uses all of them, unless a --devices
                           after -- says otherwise
  --replicas M             how many such machines train together (default: 1). They wait an hour for each other, unless
                           a --wait_minutes after -- says otherwise
  --disk_gb N              the size of a machine's disk (default: 100). A file for gs:// is first written to this disk
  --timeout_hours N        the job is stopped after so many hours (default: 24)
  --spot                   use spare machines, which are cheaper and may be taken away
  --service_account EMAIL  the account that the job acts as (default: Compute Engine's default account)
  --network NETWORK        the network that the job is connected to, such as projects/12345/global/networks/NAME, where
                           12345 is the project's number (default: none)
  --tensorboard NAME       the TensorBoard that shows the logs, such as projects/P/locations/REGION/tensorboards/NUMBER.
                           It needs --base_output and --service_account
  --labels KEY=VALUE,...   labels of the job, with which costs and jobs can be told apart
  --job_name NAME          the job's name (default: word2vec and the time)
  --dry_run                print the specification and the command, and submit nothing
END
}

declare -A given=(
  [output]='' [base_output]='' [machine_type]=g2-standard-8 [accelerator]=NVIDIA_L4 [accelerator_count]='' [replicas]=1
  [disk_gb]=100 [timeout_hours]=24 [service_account]='' [network]='' [tensorboard]='' [labels]=''
  [job_name]=word2vec-$(date -u +%Y%m%d-%H%M%S)
)
strategy=STANDARD trainer_flags=()
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --) shift && trainer_flags=("$@") && break ;;
    --help | -h) usage && exit ;;
    --spot) strategy=SPOT && shift && continue ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --project | --region | --image | --data | --output | --base_output | --machine_type | --accelerator | \
      --accelerator_count | --replicas | --disk_gb | --timeout_hours | --service_account | --network | --tensorboard | \
      --labels | --job_name)
      check_value "$@"
      ;;
    *) fail "unknown argument $1: see --help; flags of the trainer come after --" ;;
  esac
  given[${1#--}]=$2
  shift 2
done
for flag in project region image data; do
  [[ ${given[$flag]:-} ]] || fail "--$flag is missing: see --help"
done
[[ ${given[output]}${given[base_output]} ]] || fail "--output is missing: expected --output or --base_output"
[[ ! (${given[output]} && ${given[base_output]}) ]] ||
  fail "--output ${given[output]} and --base_output ${given[base_output]} contradict each other: give one of them"
for flag in data output base_output; do
  [[ -z ${given[$flag]} || ${given[$flag]} =~ ^gs://[a-z0-9._-]+/.+ ]] ||
    fail "--$flag ${given[$flag]}: expected gs://BUCKET/FOLDER"
done
for flag in disk_gb timeout_hours; do
  [[ ${given[$flag]} =~ ^[1-9][0-9]*$ ]] || fail "--$flag ${given[$flag]}: expected a whole number, at least 1"
done
for flag in project region image machine_type accelerator service_account job_name; do
  [[ ${given[$flag]} =~ ^[A-Za-z0-9._:/@-]*$ ]] ||
    fail "--$flag ${given[$flag]}: expected only letters, digits and . _ : / @ -"
done
[[ ${given[replicas]} =~ ^[1-9][0-9]{0,2}$ ]] ||
  fail "--replicas ${given[replicas]}: expected a whole number from 1 to 999"
[[ -z ${given[network]} || ${given[network]} =~ ^projects/[0-9]+/global/networks/[a-z][-a-z0-9]*$ ]] ||
  fail "--network ${given[network]}: expected such as projects/12345/global/networks/NAME, with the project's number"

# Vertex AI refuses a number of GPUs that the machine does not have. Of some machines, the name says the number.
if [[ ${given[accelerator]} == none ]]; then
  [[ -z ${given[accelerator_count]} ]] ||
    fail "--accelerator_count ${given[accelerator_count]}: expected an --accelerator other than none with it"
else
  : "${given[accelerator_count]:=1}"
  [[ ${given[accelerator_count]} =~ ^([1-9]|1[0-6])$ ]] ||
    fail "--accelerator_count ${given[accelerator_count]}: expected a whole number from 1 to 16"
  case ${given[machine_type]} in
    g2-standard-4 | g2-standard-8 | g2-standard-12 | g2-standard-16 | g2-standard-32) gpus=1 ;;
    g2-standard-24) gpus=2 ;;
    g2-standard-48) gpus=4 ;;
    g2-standard-96) gpus=8 ;;
    *) [[ ${given[machine_type]} =~ ^a[0-9]+[a-z]*-[a-z]+-([0-9]+)g ]] && gpus=${BASH_REMATCH[1]} || gpus='' ;;
  esac
  [[ -z $gpus || $gpus == "${given[accelerator_count]}" ]] ||
    fail "--accelerator_count ${given[accelerator_count]}: expected $gpus for --machine_type ${given[machine_type]}," \
      "or another machine"
fi

# Vertex AI copies the logs to a TensorBoard from below --base_output, as the account that the job names.
if [[ ${given[tensorboard]} ]]; then
  [[ ${given[tensorboard]} =~ ^projects/[A-Za-z0-9._:-]+/locations/([a-z0-9-]+)/tensorboards/[A-Za-z0-9_-]+$ ]] ||
    fail "--tensorboard ${given[tensorboard]}: expected projects/PROJECT/locations/REGION/tensorboards/NUMBER"
  [[ ${BASH_REMATCH[1]} == "${given[region]}" ]] ||
    fail "--tensorboard ${given[tensorboard]}: expected one in --region ${given[region]}"
  for flag in base_output service_account; do
    [[ ${given[$flag]} ]] || fail "--$flag is missing: expected it with --tensorboard"
  done
fi

labels=() label='[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}'
if [[ ${given[labels]} ]]; then
  [[ ${given[labels]} =~ ^$label(,$label){0,63}$ ]] ||
    fail "--labels ${given[labels]}: expected KEY=VALUE,KEY=VALUE of lower case letters, digits, _ and -," \
      "at most 63 of them in each, and a letter first in each key"
  labels=(--labels="${given[labels]}")
fi

resume=(--resume) devices=() wait=()
[[ ! ${given[accelerator_count]} || ${given[accelerator_count]} == 1 ]] || devices=(--devices all)
((given[replicas] == 1)) || wait=(--wait_minutes 60) # so long it may take to switch on a machine
for flag in "${trainer_flags[@]}"; do
  case $flag in
    --overwrite | --resume) resume=() ;;
    --devices | --devices=*) devices=() ;;
    --wait_minutes | --wait_minutes=*) wait=() ;;
    --output | --output=* | --data | --data=*) fail "$flag: expected it before --" ;;
  esac
done
output=("${given[output]:+--output}" "${given[output]}")
[[ ${given[output]} ]] || output=()
args=(--data "${given[data]}" "${output[@]}" "${devices[@]}" "${wait[@]}" "${trainer_flags[@]}" "${resume[@]}")

# With --base_output the trainer reads its folders from its environment, which is checked as Vertex AI will set it.
environment=() base=${given[base_output]%/}
[[ -z $base ]] || environment=(
  AIP_MODEL_DIR="$base/model/" AIP_CHECKPOINT_DIR="$base/checkpoints/" AIP_TENSORBOARD_LOG_DIR="$base/logs/"
)
check_trainer "${given[replicas]}" "${given[accelerator_count]:-0}" "${environment[@]}" -- "${args[@]}"

python=$(find_python)
words=("strategy=$strategy")
for name in image base_output machine_type accelerator accelerator_count replicas disk_gb timeout_hours \
  service_account network tensorboard; do
  words+=("$name=${given[$name]}")
done
spec=$("$python" "$checkout/deploy/vertex/custom_job.py" "${words[@]}" -- "${args[@]}") || exit 2
check_programs gcloud
if ((dry_run)); then
  printf '%s\n\n' "$spec"
  config=custom_job.json
else
  config=$(mktemp -d)/custom_job.json
  trap 'rm -r "$(dirname "$config")"' EXIT
  printf '%s\n' "$spec" >"$config"
fi
run gcloud ai custom-jobs create --project="${given[project]}" --region="${given[region]}" \
  --display-name="${given[job_name]}" "${labels[@]}" --config="$config"

model=${given[output]:-$base/model}
quoted_model=$(printf %q "$model")
quoted_logs=$(printf %q "${base:-$model}/logs")
cat <<END

model       $model, complete as soon as metrics.json is there

Next:
  tensorboard --logdir $quoted_logs
  python -m trainer.neighbors --vectors $quoted_model/vectors.bin WORD...
END
