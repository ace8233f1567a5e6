#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
deploy/dataflow/build_template.sh --project PROJECT --repository REGISTRY/REPOSITORY --templates gs://BUCKET/FOLDER
                                  [--tag TAG] [--docker] [--dry_run]

Builds the image that is both the launcher and the workers of a Flex Template, pushes it, and writes the template's file.
Both have the tag in their names, so nothing that is in use is ever replaced.

  --project PROJECT        Google Cloud's project
  --repository REPOSITORY  where the image goes, such as us-central1-docker.pkg.dev/PROJECT/REPOSITORY
  --templates FOLDER       where the template's file goes, such as gs://BUCKET/templates
  --tag TAG                default: the version, the commit and the time
  --docker                 build and push with docker on this machine, not with Cloud Build
  --dry_run                print the commands, run none
END
}

fail() {
  echo "build_template.sh: $*" >&2
  exit 2
}

project='' repository='' templates='' tag='' builder=gcloud dry_run=0
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --help | -h) usage && exit ;;
    --docker) builder=docker && shift && continue ;;
    --dry_run) dry_run=1 && shift && continue ;;
    --project | --repository | --templates | --tag) [[ ${2:-} && $2 != --* ]] || fail "$1 has no value" ;;
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
[[ $project ]] || fail "--project is missing: expected the project's id, as in: gcloud projects list"
[[ $repository =~ ^[a-z0-9.:-]+(/[a-z0-9._-]+)+$ ]] ||
  fail "--repository ${repository:-is missing}: expected such as us-central1-docker.pkg.dev/PROJECT/REPOSITORY"
[[ $templates =~ ^gs://[a-z0-9._-]+(/.+)?$ ]] || fail "--templates ${templates:-is missing}: expected gs://BUCKET/FOLDER"

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [[ -z $tag ]]; then
  version=$(sed -n 's/^ *version="\(.*\)",$/\1/p' setup.py)
  commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo no-commit)
  [[ -z $(git status --porcelain -- setup.py pyproject.toml pipeline trainer deploy 2>/dev/null) ]] || commit+=-changed
  tag=$version-$commit-$(date -u +%Y%m%d-%H%M%S)
fi
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ && $tag != latest ]] ||
  fail "--tag $tag: expected a new name of letters, digits, '.', '_' and '-'"
beam=$(sed -n 's/^apache-beam==//p' deploy/constraints.txt)
image=$repository/word2vec-beam:$tag
template=$templates/word2vec-beam-$tag.json

((dry_run)) || for tool in gcloud $([[ $builder == docker ]] && echo docker); do
  command -v "$tool" >/dev/null || fail "$tool is not on the PATH: install it, or see what it would do with --dry_run"
done

run() { # shows a command and runs it
  printf '$'
  printf ' %q' "$@"
  echo
  ((dry_run)) || "$@"
}

if [[ $builder == docker ]]; then
  run docker build --platform=linux/amd64 --file=deploy/dataflow/Dockerfile --build-arg="BEAM_VERSION=$beam" \
    --build-arg="IMAGE=$image" --tag="$image" .
  run docker push "$image"
else
  run gcloud builds submit . --project="$project" --config=deploy/dataflow/cloudbuild.yaml \
    --substitutions="_BEAM_VERSION=$beam,_IMAGE=$image"
fi
run gcloud dataflow flex-template build "$template" --project="$project" --image="$image" --sdk-language=PYTHON \
  --metadata-file=deploy/dataflow/metadata.json

cat <<END

image       $image
template    $template

Next:
  gcloud dataflow flex-template run word2vec-\$(date -u +%Y%m%d-%H%M%S) --project=$project --region=REGION \\
    --template-file-gcs-location=$template --temp-location=gs://BUCKET/tmp \\
    --parameters=input='gs://BUCKET/text/*.txt' --parameters=output=gs://BUCKET/dataset
or, from this checkout, with the same image:
  deploy/dataflow/run.sh --project $project --region REGION --temp_location gs://BUCKET/tmp \\
    --input 'gs://BUCKET/text/*.txt' --output gs://BUCKET/dataset --sdk_container_image $image
END
