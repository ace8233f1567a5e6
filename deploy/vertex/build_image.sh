#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/vertex/build_image.sh --repository REGISTRY/REPOSITORY [--project PROJECT] [--tag TAG] [--cpu] [--docker]
                             [--dry_run]

Builds the trainer's image and pushes it to a registry. The image gets a new tag each time, so an image that is in use
is never replaced.

  --repository REPOSITORY  where the image goes, such as us-central1-docker.pkg.dev/PROJECT/REPOSITORY
  --project PROJECT        the Google Cloud project; Cloud Build needs it, --docker does not
  --tag TAG                the image's tag (default: the project's version, the commit and the time)
  --cpu                    leave CUDA out, for machines without a GPU
  --docker                 build and push with Docker on this machine, and not with Cloud Build
  --dry_run                print the commands and run none
END
}

repository='' project='' tag='' extras=trainer,gpu builder=gcloud
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --help | -h) usage && exit ;;
    --cpu) extras=trainer && shift && continue ;;
    --docker) builder=docker && shift && continue ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --repository | --project | --tag) check_value "$@" ;;
    *) fail "unknown argument $1: expected --repository, --project, --tag, --cpu, --docker or --dry_run" ;;
  esac
  case $1 in
    --repository) repository=${2%/} ;;
    --project) project=$2 ;;
    --tag) tag=$2 ;;
  esac
  shift 2
done
check_repository "$repository"
[[ $project || $builder == docker ]] || fail "--project is missing: Cloud Build needs it; --docker builds without it"
[[ $tag ]] || tag=$(new_tag trainer)
check_tag "$tag"
check_programs "$builder"

image=$repository/word2vec-trainer:$tag
cd "$checkout"
if [[ $builder == docker ]]; then
  run docker build --platform=linux/amd64 --file=deploy/vertex/Dockerfile --build-arg="EXTRAS=$extras" --tag="$image" .
  run docker push "$image"
else
  # ^;^ makes ";" the separator, because the value of _EXTRAS has a comma in it.
  run gcloud builds submit . --project="$project" --config=deploy/vertex/cloudbuild.yaml \
    --substitutions="^;^_EXTRAS=$extras;_IMAGE=$image"
fi

cat <<END

image       $image

Next:
  deploy/vertex/run.sh --project ${project:-PROJECT} --region REGION --image $image \\
    --data gs://BUCKET/dataset --output gs://BUCKET/model
or on a machine with a GPU:
  docker run --rm --gpus all -v "\$PWD:/data" --user "\$(id -u)" $image --data /data/dataset --output /data/model
END
