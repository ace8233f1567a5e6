#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
deploy/vertex/build_image.sh --repository REGISTRY/REPOSITORY [--project PROJECT] [--tag TAG] [--cpu] [--docker]
                             [--dry_run]

Builds the trainer's image and pushes it. The tag is a new one, so no image that is in use is ever replaced.

  --repository REPOSITORY  where the image goes, such as us-central1-docker.pkg.dev/PROJECT/REPOSITORY
  --project PROJECT        Google Cloud's project, which Cloud Build needs
  --tag TAG                default: the version, the commit and the time
  --cpu                    without CUDA
  --docker                 build and push with docker on this machine, not with Cloud Build
  --dry_run                print the commands, run none
END
}

fail() {
  echo "build_image.sh: $*" >&2
  exit 2
}

repository='' project='' tag='' extras=trainer,gpu builder=gcloud dry_run=0
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --help | -h) usage && exit ;;
    --cpu) extras=trainer && shift && continue ;;
    --docker) builder=docker && shift && continue ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --repository | --project | --tag) [[ ${2:-} && $2 != --* ]] || fail "$1 has no value" ;;
    *) fail "unknown argument $1: expected --repository, --project, --tag, --cpu, --docker or --dry_run" ;;
  esac
  case $1 in
    --repository) repository=${2%/} ;;
    --project) project=$2 ;;
    --tag) tag=$2 ;;
  esac
  shift 2
done
[[ $repository =~ ^[a-z0-9.:-]+(/[a-z0-9._-]+)+$ ]] ||
  fail "--repository ${repository:-is missing}: expected such as us-central1-docker.pkg.dev/PROJECT/REPOSITORY"
[[ $project || $builder == docker ]] || fail "--project is missing: Cloud Build needs it; --docker builds without"

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [[ -z $tag ]]; then
  version=$(sed -n 's/^ *version="\(.*\)",$/\1/p' setup.py)
  commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo no-commit)
  [[ -z $(git status --porcelain -- setup.py pyproject.toml trainer deploy 2>/dev/null) ]] || commit+=-changed
  tag=$version-$commit-$(date -u +%Y%m%d-%H%M%S)
fi
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ && $tag != latest ]] ||
  fail "--tag $tag: expected a new name of letters, digits, '.', '_' and '-'"
image=$repository/word2vec-trainer:$tag

((dry_run)) || command -v "$builder" >/dev/null ||
  fail "$builder is not on the PATH: install it, or see what it would do with --dry_run"

run() { # shows a command and runs it
  printf '$'
  printf ' %q' "$@"
  echo
  ((dry_run)) || "$@"
}

if [[ $builder == docker ]]; then
  run docker build --platform=linux/amd64 --file=deploy/vertex/Dockerfile --build-arg="EXTRAS=$extras" --tag="$image" .
  run docker push "$image"
else
  run gcloud builds submit . --project="$project" --config=deploy/vertex/cloudbuild.yaml \
    --substitutions="^;^_EXTRAS=$extras;_IMAGE=$image" # whose values have commas
fi

cat <<END

image       $image

Next:
  deploy/vertex/run.sh --project ${project:-PROJECT} --region REGION --image $image \\
    --data gs://BUCKET/dataset --output gs://BUCKET/model
or on a machine with a GPU:
  docker run --rm --gpus all -v "\$PWD:/data" --user "\$(id -u)" $image --data /data/dataset --output /data/model
END
