#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/vertex/run.sh --project PROJECT --region REGION --image IMAGE --data gs://BUCKET/DATASET
                     --output gs://BUCKET/MODEL [...] [--dry_run] [-- TRAINER_FLAG...]

Submits the trainer to Vertex AI as a custom job, and returns as soon as Vertex AI has the job. The model is complete
once metrics.json is in it. Flags after -- go to the trainer: `python -m trainer.task --help` lists them. The script
adds --resume, so that the trainer continues from its last checkpoint if Vertex AI starts it again. It does not add
--resume to --overwrite, which trains from the beginning.

  --image IMAGE            the trainer's image, as build_image.sh builds it
  --machine_type TYPE      the machine (default: g2-standard-8)
  --accelerator TYPE       the machine's GPU, of which the trainer uses one (default: NVIDIA_L4); with "none" the machine
                           has no GPU
  --disk_gb N              the size of its disk (default: 100). A file for gs:// is first written to this disk
  --timeout_hours N        the job is stopped after so many hours (default: 24)
  --spot                   use spare machines, which are cheaper and may be taken away
  --service_account EMAIL  the account that the job acts as (default: Compute Engine's default account)
  --job_name NAME          the job's name (default: word2vec and the time)
  --dry_run                print the specification and the command, and submit nothing
END
}

declare -A given=(
  [machine_type]=g2-standard-8 [accelerator]=NVIDIA_L4 [disk_gb]=100 [timeout_hours]=24 [service_account]=''
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
    --project | --region | --image | --data | --output | --machine_type | --accelerator | --disk_gb | --timeout_hours | \
      --service_account | --job_name)
      check_value "$@"
      ;;
    *) fail "unknown argument $1: see --help; flags of the trainer come after --" ;;
  esac
  given[${1#--}]=$2
  shift 2
done
for flag in project region image data output; do
  [[ ${given[$flag]:-} ]] || fail "--$flag is missing: see --help"
done
for flag in data output; do
  [[ ${given[$flag]} =~ ^gs://[a-z0-9._-]+/.+ ]] || fail "--$flag ${given[$flag]}: expected gs://BUCKET/FOLDER"
done
for flag in disk_gb timeout_hours; do
  [[ ${given[$flag]} =~ ^[1-9][0-9]*$ ]] || fail "--$flag ${given[$flag]}: expected a whole number, at least 1"
done
for flag in project region image machine_type accelerator service_account job_name; do
  [[ ${given[$flag]} =~ ^[A-Za-z0-9._:/@-]*$ ]] ||
    fail "--$flag ${given[$flag]}: expected only letters, digits and . _ : / @ -"
done

resume=(--resume)
for flag in "${trainer_flags[@]}"; do
  [[ $flag != --overwrite && $flag != --resume ]] || resume=()
done
args=(--data "${given[data]}" --output "${given[output]}" "${trainer_flags[@]}" "${resume[@]}")

# The trainer's flags are checked here. On Vertex AI, a mistake would show minutes later, on a machine that costs money.
python=$(find_python)
if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  (cd "$checkout" && "$python" -c '
import sys
from trainer import console, task
sys.exit(console.run(task.parse, sys.argv[1:], "run.sh: the trainer"))' "${args[@]}") || exit
fi

words=("strategy=$strategy")
for name in image machine_type accelerator disk_gb timeout_hours service_account; do
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
  --display-name="${given[job_name]}" --config="$config"

quoted_output=$(printf %q "${given[output]}")
cat <<END

model       ${given[output]}, complete as soon as metrics.json is there

Next:
  tensorboard --logdir $quoted_output/logs
  python -m trainer.neighbors --vectors $quoted_output/vectors.bin WORD...
END
