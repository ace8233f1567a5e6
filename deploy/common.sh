# The scripts below deploy/ share what is in this file. Each of them loads it first:
#
#     set -euo pipefail
#     source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) # the project's folder
dry_run=0                                                  # 1 if commands are shown and not run
failure=2                                                  # the exit status of `fail`: 2 means a wrong flag

fail() { # MESSAGE: ends the script with one line, which starts with the script's name
  local message=$*
  printf '%s: %s\n' "${0##*/}" "${message//[[:cntrl:]]/?}" >&2 # a value may hold a line break
  exit "$failure"
}

show() { # COMMAND...: prints a command as it would be typed
  printf '$'
  printf ' %q' "$@"
  echo
}

run() { # COMMAND...: shows a command, and runs it unless this is a dry run
  show "$@"
  ((dry_run)) || "$@"
}

# --- Checks of flags ---

check_value() { # FLAG VALUE: the value must be there, and must not be the next flag
  [[ ${2:-} && $2 != --* ]] || fail "$1 has no value: expected one after it (see --help)"
}

check_repository() { # VALUE: the value of --repository
  [[ $1 =~ ^[a-z0-9.:-]+(/[a-z0-9._-]+)+$ ]] ||
    fail "--repository ${1:-is missing}: expected such as us-central1-docker.pkg.dev/PROJECT/REPOSITORY"
}

check_tag() { # VALUE: the value of --tag
  [[ $1 =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ && $1 != latest ]] ||
    fail "--tag $1: expected a new name of letters, digits, '.', '_' and '-'"
}

check_programs() { # PROGRAM...: a dry run needs none of them
  local program
  ((dry_run)) || for program in "$@"; do
    command -v "$program" >/dev/null ||
      fail "$program is not on the PATH: install it, or add --dry_run to see the commands without running them"
  done
}

check_trainer() { # MACHINES GPUS NAME=VALUE... -- ARGUMENT...: the trainer itself checks its arguments
  # It does so as on a machine of the job, which has so many GPUs and this environment. In the cloud, a mistake would
  # show minutes later, on machines that cost money.
  local machines=$1 gpus=$2 environment=(-u AIP_MODEL_DIR -u AIP_CHECKPOINT_DIR -u AIP_TENSORBOARD_LOG_DIR) python
  shift 2
  while [[ $1 != -- ]]; do environment+=("$1") && shift; done
  python=$(find_python)
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || return 0 # the trainer needs a later Python
  (cd "$checkout" && env "${environment[@]}" "$python" -c '
import json, sys
from trainer import console, launcher, task
script, machines, gpus, *arguments = sys.argv[1:]
hosts = [f"host{number}:2222" for number in range(int(machines))]
on_a_machine = {
    "TF_CONFIG": json.dumps({"cluster": {"worker": hosts}}),
    "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(int(gpus)))),
}
check = lambda words: launcher.processes_to_start(task.parse(words), on_a_machine)
sys.exit(console.run(check, arguments, f"{script}: the trainer"))' "${0##*/}" "$machines" "$gpus" "${@:2}") || exit
}

# --- Facts about the checkout ---

find_python() { # prints the Python of the checkout's .venv, or else the machine's
  command -v "$checkout/.venv/bin/python" || command -v python3 ||
    fail "python3 is not on the PATH: install it, or make .venv with deploy/local/setup_venv.sh"
}

pinned_beam() { # prints the version of Beam in deploy/constraints.txt
  local version
  version=$(sed -n 's/^apache-beam==//p' "$checkout/deploy/constraints.txt")
  [[ $version ]] || fail "deploy/constraints.txt pins no apache-beam: expected a line such as apache-beam==2.77.0"
  echo "$version"
}

new_tag() { # PACKAGE...: prints VERSION-COMMIT-TIME for an image; the packages are what the image holds
  local version commit
  version=$(sed -n 's/^ *version="\(.*\)",$/\1/p' "$checkout/setup.py")
  commit=$(git -C "$checkout" rev-parse --short=12 HEAD 2>/dev/null || echo no-commit)
  [[ -z $(git -C "$checkout" status --porcelain -- setup.py pyproject.toml deploy "$@" 2>/dev/null) ]] ||
    commit+=-changed # files differ from the commit
  echo "$version-$commit-$(date -u +%Y%m%d-%H%M%S)"
}

# --- Images ---

read_build_flags() { # OTHER ARGUMENT...: reads the flags of a script that builds an image; OTHER is one more flag, or ''
  local other=$1
  repository='' project='' tag='' builder=gcloud has_other=0
  shift
  while (($#)); do
    [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
    case $1 in
      --help | -h) usage && exit ;;
      --docker) builder=docker && shift && continue ;;
      --dry_run) dry_run=1 && shift && continue ;;
      --repository | --project | --tag) check_value "$@" && printf -v "${1#--}" %s "$2" && shift 2 ;;
      "${other:-none}") has_other=1 && shift ;;
      *) fail "unknown argument $1: expected --repository, --project, --tag, ${other:+$other, }--docker or --dry_run" ;;
    esac
  done
  repository=${repository%/}
  check_repository "$repository"
  [[ $project || $builder == docker ]] || fail "--project is missing: Cloud Build needs it; --docker builds without it"
  [[ -z $tag ]] || check_tag "$tag"
  check_programs "$builder"
}

build_image() { # FOLDER IMAGE NAME=VALUE: builds deploy/FOLDER/Dockerfile with that argument, and pushes the image
  local substitutions=_IMAGE=$2
  [[ $3 == IMAGE=* ]] || substitutions+=,_$3
  cd "$checkout"
  if [[ $builder == docker ]]; then
    run docker build --platform=linux/amd64 --file="deploy/$1/Dockerfile" --build-arg="$3" --tag="$2" .
    run docker push "$2"
  else
    run gcloud builds submit . --project="$project" --config="deploy/$1/cloudbuild.yaml" --substitutions="$substitutions"
  fi
}
