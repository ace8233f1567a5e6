#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/image/build.sh --repository REGISTRY/REPOSITORY [--project PROJECT] [--tag TAG] [--docker] [--dry_run]

Builds the image of the pipeline and pushes it to a registry. Beam's workers run in this image on Dataflow (give its
name to deploy/dataflow/run.sh --sdk_container_image) and on Flink (deploy/flink/kubernetes.sh --image). The image gets
a new tag each time, so an image that is in use is never replaced.

  --repository REPOSITORY  where the image goes, such as us-central1-docker.pkg.dev/PROJECT/REPOSITORY
  --project PROJECT        the Google Cloud project; Cloud Build needs it, --docker does not
  --tag TAG                the image's tag (default: the project's version, the commit and the time)
  --docker                 build and push with Docker on this machine, and not with Cloud Build
  --dry_run                print the commands and run none
END
}

repository='' project='' tag='' builder=gcloud
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --help | -h) usage && exit ;;
    --docker) builder=docker && shift && continue ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --repository | --project | --tag) check_value "$@" ;;
    *) fail "unknown argument $1: expected --repository, --project, --tag, --docker or --dry_run" ;;
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
[[ $tag ]] || tag=$(new_tag pipeline trainer)
check_tag "$tag"
check_programs "$builder"

image=$repository/word2vec-beam:$tag
beam=$(pinned_beam)
cd "$checkout"
if [[ $builder == docker ]]; then
  run docker build --platform=linux/amd64 --file=deploy/image/Dockerfile --build-arg="BEAM_VERSION=$beam" \
    --build-arg="IMAGE=$image" --tag="$image" .
  run docker push "$image"
else
  run gcloud builds submit . --project="$project" --config=deploy/image/cloudbuild.yaml \
    --substitutions="_BEAM_VERSION=$beam,_IMAGE=$image"
fi
printf '\nimage       %s\n' "$image"
