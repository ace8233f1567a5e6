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

read_build_flags '' "$@"
image=$repository/word2vec-beam:${tag:-$(new_tag pipeline trainer)}
build_image image "$image" "IMAGE=$image"
printf '\nimage       %s\n' "$image"
