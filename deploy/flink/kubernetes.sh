#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/flink/kubernetes.sh --image IMAGE --output DATASET --input GLOB... [FLAG...] | kubectl apply -f -

Prints the manifests that run the pipeline on Kubernetes with the Flink operator, and runs nothing itself. The manifests
are in JSON, which is YAML too: a Flink cluster, and a job that submits the pipeline to it. Each task manager, which is Flink's process on a worker
machine, has a pool of Beam workers beside it in the same pod. The script takes every flag that
`python -m pipeline --help` lists.

  --image IMAGE              the image of Beam's workers, as deploy/image/build.sh builds it
  --flink_image IMAGE        Flink's image (default: flink:1.19.3-java17)
  --name NAME                the name of the cluster; the job's name is this name and the time (default: word2vec)
  --namespace NAME           the namespace (default: the one of kubectl's context)
  --task_managers N          how many task managers there are (default: 2)
  --slots N                  how many tasks each task manager runs at once (default: 2)
  --worker_memory SIZE       the memory of each pool of Beam workers (default: 4Gi)
  --volume_claim CLAIM       a volume claim that many pods can write to at once. It is mounted at /data, and --input and
                             --output must be below /data unless they are such as gs://BUCKET/... The pods write to it
                             as the user 1000
  --service_account NAME     the account of all pods; it needs access to the bucket (default: flink, which the
                             operator's chart makes)
END
}

image='' flink_image=flink:1.19.3-java17 name=word2vec namespace='' task_managers=2 slots=2 worker_memory=4Gi
volume_claim='' service_account=flink flags=() paths=() following=''
while (($#)); do
  case ${1%%=*} in
    --help | -h) usage && exit ;;
    --image | --flink_image | --name | --namespace | --task_managers | --slots | --worker_memory | --volume_claim | \
      --service_account)
      [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
      check_value "$@"
      printf -v "${1#--}" %s "$2"
      following='' && shift 2 && continue ;;
    --runner | --flink_master | --environment_type | --environment_config)
      fail "$1: this script sets the flag itself; leave it out" ;;
    --input | --output)
      following=${1%%=*}
      [[ $1 != *=* ]] || paths+=("$following ${1#*=}") ;;
    --*) following='' ;;
    *) [[ -z $following ]] || paths+=("$following $1") ;;
  esac
  flags+=("$1")
  shift
done
[[ $image =~ ^[A-Za-z0-9._/@:-]+:[A-Za-z0-9._-]+$ ]] ||
  fail "--image ${image:-is missing}: expected an image with its tag, such as REGISTRY/word2vec-beam:TAG"
[[ $image != *:latest ]] || fail "--image $image: expected another tag, one that always names the same image"
[[ $flink_image =~ ^[A-Za-z0-9._/-]+(:[0-9]+/[A-Za-z0-9._/-]+)?:1\.(19|20)[A-Za-z0-9._@:-]*$ ]] ||
  fail "--flink_image $flink_image: expected Flink 1.19 or 1.20"
for flag in name namespace volume_claim service_account; do
  [[ (-z ${!flag} && $flag != name) || ${!flag} =~ ^[a-z]([-a-z0-9]{0,44}[a-z0-9])?$ ]] ||
    fail "--$flag ${!flag}: expected at most 46 lower case letters, digits and hyphens, and a letter first"
done
for flag in task_managers slots; do
  [[ ${!flag} =~ ^[1-9][0-9]{0,3}$ ]] || fail "--$flag ${!flag}: expected a number from 1 to 9999"
done
[[ $worker_memory =~ ^[1-9][0-9]*[MG]i$ ]] || fail "--worker_memory $worker_memory: expected such as 4Gi"
for needed in --input --output; do
  [[ " ${paths[*]%% *} " == *" $needed "* ]] || fail "$needed is missing: see --help"
done
for path in "${paths[@]}"; do
  [[ $path == *' '*'://'* || ($volume_claim && $path == *' /data/'*) ]] ||
    fail "$path: expected a path such as gs://BUCKET/..., or with --volume_claim one below /data"
done

words=()
for flag in image flink_image name namespace task_managers slots worker_memory volume_claim service_account; do
  words+=("$flag=${!flag}")
done
python=$(find_python)
"$python" "$checkout/deploy/flink/kubernetes.py" "${words[@]}" -- "${flags[@]}" || exit 2
