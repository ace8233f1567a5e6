#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/kubernetes/trainer.sh --image IMAGE --data DATASET --output MODEL [...] [-- TRAINER_FLAG...] | kubectl apply -f -

Prints the manifests that run the trainer on Kubernetes, and runs nothing itself. The manifests are in JSON, which is
YAML too: a job and, for several machines, a service that gives host names to its pods and a rule by which only these
pods may connect to each other. Flags after -- go to the trainer: `python -m trainer.task --help` lists them. The script
adds --resume, so that the trainer continues from its last checkpoint if Kubernetes starts it again. It does not add
--resume to --overwrite, which trains from the beginning.

  --image IMAGE            the trainer's image, as deploy/vertex/build_image.sh builds it
  --data DATASET           the dataset: a path such as gs://BUCKET/..., or with --volume_claim one below /data
  --output MODEL           the folder of the model, at a path of these kinds
  --machines M             how many pods train together, each on a machine or on a part of one (default: 1). They wait
                           an hour for each other, unless a --wait_minutes after -- says otherwise
  --gpus N                 how many NVIDIA GPUs each pod has, all of which the trainer uses (default: 1). With 0 it has
                           none
  --cpus N                 how many processor cores each pod has (default: 4)
  --memory SIZE            the memory of each pod (default: 16Gi)
  --volume_claim CLAIM     a volume claim that many pods can write to at once. It is mounted at /data. The pods write to
                           it as the user 1000
  --service_account NAME   the account of the pods; it needs access to the bucket (default: the namespace's own)
  --node_selector KEY=VALUE,...  only nodes with these labels run pods, such as
                           cloud.google.com/gke-accelerator=nvidia-l4
  --restarts R             how often all pods may be started again after a failure (default: 3)
  --timeout_hours N        the job is stopped after so many hours (default: 24)
  --name NAME              the name of the service; the job's name is this name and the time (default: word2vec-trainer)
  --namespace NAME         the namespace (default: the one of kubectl's context)
END
}

image='' data='' output='' machines=1 gpus=1 cpus=4 memory=16Gi volume_claim='' service_account='' node_selector=''
restarts=3 timeout_hours=24 name=word2vec-trainer namespace='' trainer_flags=()
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --) shift && trainer_flags=("$@") && break ;;
    --help | -h) usage && exit ;;
    --image | --data | --output | --machines | --gpus | --cpus | --memory | --volume_claim | --service_account | \
      --node_selector | --restarts | --timeout_hours | --name | --namespace)
      check_value "$@"
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    *) fail "unknown argument $1: see --help; flags of the trainer come after --" ;;
  esac
done
[[ $image =~ ^[A-Za-z0-9._/@:-]+:[A-Za-z0-9._-]+$ ]] ||
  fail "--image ${image:-is missing}: expected an image with its tag, such as REGISTRY/word2vec-trainer:TAG"
[[ $image != *:latest ]] || fail "--image $image: expected another tag, one that always names the same image"
for flag in data output; do
  path=${!flag}
  [[ $path ]] || fail "--$flag is missing: see --help"
  [[ $path =~ ^[a-z0-9]+://[^/]+/. || ($volume_claim && $path == /data/?*) ]] ||
    fail "--$flag $path: expected a path such as gs://BUCKET/..., or with --volume_claim one below /data"
done
# A pod's host name is the job's name and its index, and has at most 63 letters.
[[ $name =~ ^[a-z]([-a-z0-9]{0,41}[a-z0-9])?$ ]] ||
  fail "--name $name: expected at most 43 lower case letters, digits and hyphens, and a letter first"
for flag in namespace volume_claim service_account; do
  [[ -z ${!flag} || ${!flag} =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
    fail "--$flag ${!flag}: expected at most 63 lower case letters, digits and hyphens, and a letter first"
done
for flag in machines cpus timeout_hours; do
  [[ ${!flag} =~ ^[1-9][0-9]{0,2}$ ]] || fail "--$flag ${!flag}: expected a whole number from 1 to 999"
done
[[ $gpus =~ ^([0-9]|1[0-6])$ ]] || fail "--gpus $gpus: expected a whole number from 0 to 16"
[[ $restarts =~ ^(0|[1-9][0-9]{0,2})$ ]] || fail "--restarts $restarts: expected a whole number from 0 to 999"
[[ $memory =~ ^[1-9][0-9]*[MG]i$ ]] || fail "--memory $memory: expected such as 16Gi"
word='[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?'
label="([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?$word=$word"
[[ -z $node_selector || $node_selector =~ ^$label(,$label)*$ ]] ||
  fail "--node_selector $node_selector: expected labels such as cloud.google.com/gke-accelerator=nvidia-l4"

resume=(--resume) devices=() wait=()
((gpus <= 1)) || devices=(--devices "$gpus")
((machines == 1)) || wait=(--wait_minutes 60) # so long it may take until the cluster has a machine for each pod
for flag in "${trainer_flags[@]}"; do
  case $flag in
    --overwrite | --resume) resume=() ;;
    --devices | --devices=*) fail "$flag: the script sets the flag itself; give --gpus before --" ;;
    --wait_minutes | --wait_minutes=*) wait=() ;;
    --output | --output=* | --data | --data=*) fail "$flag: expected it before --" ;;
  esac
done
args=(--data "$data" --output "$output" "${devices[@]}" "${wait[@]}" "${trainer_flags[@]}" "${resume[@]}")
check_trainer "$machines" "$gpus" -- "${args[@]}"

words=()
for flag in image machines gpus cpus memory volume_claim service_account node_selector restarts \
  timeout_hours name namespace; do
  words+=("$flag=${!flag}")
done
python=$(find_python)
"$python" "$checkout/deploy/kubernetes/trainer_job.py" "${words[@]}" -- "${args[@]}" || exit 2
