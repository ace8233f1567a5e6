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

read_build_flags --cpu "$@"
image=$repository/word2vec-trainer:${tag:-$(new_tag trainer)}
device=gpu on_vertex='' on_kubernetes='' with_docker='' devices=''
if ((has_other)); then
  device=cpu on_vertex=' --machine_type n2-standard-8 --accelerator none' on_kubernetes=' --gpus 0'
else
  # The processes of a container exchange data through shared memory, of which Docker gives it only 64 MB.
  with_docker=' --gpus all --shm-size=1g' devices=' --devices all'
fi
build_image vertex "$image" "DEVICE=$device"

cat <<END

image       $image

Next:
  deploy/vertex/run.sh --project $(printf %q "${project:-PROJECT}") --region REGION --image $image \\
    --data gs://BUCKET/dataset --output gs://BUCKET/model$on_vertex
or on Kubernetes:
  deploy/kubernetes/trainer.sh --image $image \\
    --data gs://BUCKET/dataset --output gs://BUCKET/model$on_kubernetes | kubectl apply -f -
or on one machine with Docker:
  docker run --rm$with_docker -v "\$PWD:/data" --user "\$(id -u)" $image \\
    --data /data/dataset --output /data/model$devices
END
