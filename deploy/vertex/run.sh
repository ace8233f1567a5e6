#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
deploy/vertex/run.sh --project PROJECT --region REGION --image IMAGE --data gs://BUCKET/DATASET
                     --output gs://BUCKET/MODEL [...] [--dry_run] [-- TRAINER_FLAG...]

Submits the trainer to Vertex AI as a custom job, and returns as soon as the job is there; the model is complete once
metrics.json is in it. What stands behind -- are flags of `python -m trainer.task --help`. The trainer is given --resume,
so that it goes on from its last checkpoint where Vertex AI starts it again; not with --overwrite, which starts anew.

  --image IMAGE            of build_image.sh
  --machine_type TYPE      default: g2-standard-8
  --accelerator TYPE       default: NVIDIA_L4; none for a machine without a GPU. The trainer uses one
  --disk_gb N              default: 100; what goes to gs:// is first a file on this disk
  --timeout_hours N        default: 24
  --spot                   take spare capacity, which is cheaper and may be taken away
  --service_account EMAIL  whom the job acts as; default: Compute Engine's default account
  --job_name NAME          default: word2vec and the time
  --dry_run                print the specification and the command, submit nothing
END
}

fail() {
  echo "run.sh: $*" >&2
  exit 2
}

declare -A given=(
  [machine_type]=g2-standard-8 [accelerator]=NVIDIA_L4 [disk_gb]=100 [timeout_hours]=24 [service_account]=''
  [job_name]=word2vec-$(date -u +%Y%m%d-%H%M%S)
)
strategy=STANDARD dry_run=0 trainer_flags=()
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --) shift && trainer_flags=("$@") && break ;;
    --help | -h) usage && exit ;;
    --spot) strategy=SPOT && shift && continue ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --project | --region | --image | --data | --output | --machine_type | --accelerator | --disk_gb | --timeout_hours | \
      --service_account | --job_name)
      [[ ${2:-} && $2 != --* ]] || fail "$1 has no value"
      ;;
    *) fail "unknown argument $1: see --help; flags of the trainer stand behind --" ;;
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
  [[ ${given[$flag]} =~ ^[1-9][0-9]*$ ]] || fail "--$flag ${given[$flag]}: expected a number from 1"
done
for flag in project region image machine_type accelerator service_account job_name; do
  [[ ${given[$flag]} =~ ^[A-Za-z0-9._:/@-]*$ ]] ||
    fail "--$flag ${given[$flag]}: expected letters, digits and . _ : / @ - alone"
done

args=(--data "${given[data]}" --output "${given[output]}" "${trainer_flags[@]}")
[[ " ${trainer_flags[*]} " == *" --overwrite "* || " ${trainer_flags[*]} " == *" --resume "* ]] || args+=(--resume)

# A mistake in the trainer's flags is told here, not minutes later by a machine that has been paid for.
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
for python in "$checkout/.venv/bin/python" python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    (cd "$checkout" && "$python" -c '
import sys
from trainer import console, task
sys.exit(console.run(task.parse, sys.argv[1:], "run.sh: the trainer"))' "${args[@]}") || exit
    break
  fi
done

quoted='' # in YAML, a quote within single quotes is two
for arg in "${args[@]}"; do
  quoted+="${quoted:+, }'${arg//\'/\'\'}'"
done
spec=$(<"$checkout/deploy/vertex/custom_job.yaml")
fill() { # what stands in place of @NAME@; nothing at all: the line goes
  local name=$1 value=$2
  if [[ $value ]]; then
    spec=${spec//"@$name@"/"$value"}
  else
    spec=$(grep -v "@$name@" <<<"$spec")
  fi
}
[[ ${given[accelerator]} != none ]] || given[accelerator]=''
fill MACHINE_TYPE "${given[machine_type]}"
fill ACCELERATOR_TYPE "${given[accelerator]}"
fill ACCELERATOR_COUNT "${given[accelerator]:+1}"
fill DISK_GB "${given[disk_gb]}"
fill IMAGE "${given[image]}"
fill ARGS "[$quoted]"
fill TIMEOUT "$((given[timeout_hours] * 3600))s"
fill STRATEGY "$strategy"
fill SERVICE_ACCOUNT "${given[service_account]}"
spec=$(grep -v '^ *#' <<<"$spec")

if ((dry_run)); then
  printf '%s\n\n' "$spec"
  config=custom_job.yaml
else
  command -v gcloud >/dev/null || fail "gcloud is not on the PATH: install it, or see what it would do with --dry_run"
  config=$(mktemp -d)/custom_job.yaml
  trap 'rm -r "$(dirname "$config")"' EXIT
  printf '%s\n' "$spec" >"$config"
fi
command=(
  gcloud ai custom-jobs create --project="${given[project]}" --region="${given[region]}"
  --display-name="${given[job_name]}" --config="$config"
)
printf '$'
printf ' %q' "${command[@]}"
echo
((dry_run)) || "${command[@]}"

cat <<END

model       ${given[output]}, complete as soon as metrics.json is there

Next:
  tensorboard --logdir ${given[output]}/logs
  python -m trainer.neighbors --vectors ${given[output]}/vectors.bin WORD...
END
