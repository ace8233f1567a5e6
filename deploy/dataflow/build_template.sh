#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/dataflow/build_template.sh --project PROJECT --repository REGISTRY/REPOSITORY --templates gs://BUCKET/FOLDER
                                  [--tag TAG] [--docker] [--dry_run]

Builds a Flex Template: a file in Cloud Storage from which Dataflow starts the pipeline without a checkout. The script
builds the image of the pipeline with deploy/image/build.sh, pushes it, and writes the template's file. The launcher,
which makes the job, and the workers both run in this image. Image and file get a new tag each time, so a template that
is in use is never replaced.

  --project PROJECT        the Google Cloud project
  --repository REPOSITORY  where the image goes, such as us-central1-docker.pkg.dev/PROJECT/REPOSITORY
  --templates FOLDER       where the template's file goes, such as gs://BUCKET/templates
  --tag TAG                the tag of both (default: the project's version, the commit and the time)
  --docker                 build and push with Docker on this machine, and not with Cloud Build
  --dry_run                print the commands and run none
END
}

project='' repository='' templates='' tag='' image_flags=() programs=(gcloud)
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --help | -h) usage && exit ;;
    --docker) image_flags+=(--docker) programs+=(docker) && shift && continue ;;
    --dry_run) image_flags+=(--dry_run) dry_run=1 && shift && continue ;;
    --project | --repository | --templates | --tag) check_value "$@" ;;
    *) fail "unknown argument $1: expected --project, --repository, --templates, --tag, --docker or --dry_run" ;;
  esac
  case $1 in
    --project) project=$2 ;;
    --repository) repository=${2%/} ;;
    --templates) templates=${2%/} ;;
    --tag) tag=$2 ;;
  esac
  shift 2
done
[[ $project ]] || fail "--project is missing: expected the project's id; gcloud projects list shows it"
check_repository "$repository"
[[ $templates =~ ^gs://[a-z0-9._-]+(/.+)?$ ]] || fail "--templates ${templates:-is missing}: expected gs://BUCKET/FOLDER"
[[ $tag ]] || tag=$(new_tag pipeline trainer)
check_tag "$tag"
check_programs "${programs[@]}"

image=$repository/word2vec-beam:$tag
template=$templates/word2vec-beam-$tag.json
cd "$checkout"
deploy/image/build.sh --project "$project" --repository "$repository" --tag "$tag" "${image_flags[@]}"
run gcloud dataflow flex-template build "$template" --project="$project" --image="$image" --sdk-language=PYTHON \
  --metadata-file=deploy/dataflow/metadata.json

quoted_project=$(printf %q "$project") quoted_template=$(printf %q "$template")
cat <<END

template    $template

Next:
  gcloud dataflow flex-template run word2vec-\$(date -u +%Y%m%d-%H%M%S) --project=$quoted_project --region=REGION \\
    --template-file-gcs-location=$quoted_template --temp-location=gs://BUCKET/tmp \\
    --parameters=input='gs://BUCKET/text/*.txt' --parameters=output=gs://BUCKET/dataset
or, from this checkout, with the same image:
  deploy/dataflow/run.sh --project $quoted_project --region REGION --temp_location gs://BUCKET/tmp \\
    --input 'gs://BUCKET/text/*.txt' --output gs://BUCKET/dataset --sdk_container_image $image
END
