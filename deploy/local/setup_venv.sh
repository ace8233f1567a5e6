#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/local/setup_venv.sh EXTRA[,EXTRA...]

Makes the virtual environment .venv in the checkout and installs the project in it, editable, with the packages of the
extras that are named, such as: deploy/local/setup_venv.sh pipeline,trainer (setup.py lists all extras). This takes a
few minutes the first time. After that it takes a moment and needs no network, until the requirements change. You may
interrupt the script and run it again. The environment variable PYTHON=/path/to/python chooses the interpreter.
END
}

[[ ${1:-} != --help && ${1:-} != -h ]] || { usage && exit; }
failure=1
(($# == 1)) && [[ $1 =~ ^[a-z]+(,[a-z]+)*$ ]] || fail "${*:-no argument}: expected extras, such as pipeline,trainer"
IFS=, read -ra extras <<<"$1"
cd "$checkout"
known=$(sed -n '/extras_require=/,/^    }/s/^        "\([a-z]*\)":.*/\1/p' setup.py)
for extra in "${extras[@]}"; do
  grep -qx "$extra" <<<"$known" || fail "$extra: setup.py has no such extra; expected one of: ${known//$'\n'/, }"
done

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
is_supported() { [[ $(version_of "$1") =~ ^3\.1[123]$ ]]; }

choose_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    is_supported "$candidate" && echo "$candidate" && return
  done
  return 1
}

# Two installations into one environment would break each other. The lock ends together with this process.
exec {lock}<setup.py
flock --nonblock "$lock" || {
  echo "waiting for another setup_venv.sh in this checkout" >&2
  flock "$lock"
}

venv_python=.venv/bin/python
if ! "$venv_python" -m pip --version &>/dev/null; then
  python=$(choose_python) ||
    fail "Python 3.11, 3.12 or 3.13 is needed, but ${PYTHON:-python3} is $(version_of "${PYTHON:-python3}" ||
      echo missing): install one, or name it with PYTHON=/path/to/python"
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no venv module: install it (on Debian and Ubuntu: apt install python3-venv)"
  echo "making .venv with Python $(version_of "$python")" >&2
  "$python" -m venv .venv || fail "$python cannot make .venv: if there is one already, delete it"
fi
is_supported "$venv_python" ||
  fail ".venv has Python $(version_of "$venv_python"), but 3.11 to 3.13 are supported: delete .venv"
[[ -z ${PYTHON:-} || $(version_of "$PYTHON") == "$(version_of "$venv_python")" ]] ||
  fail ".venv has Python $(version_of "$venv_python"), but PYTHON=$PYTHON has another: delete .venv, or unset PYTHON"

# The file "stamp" has a line for each extra that is installed completely, with a hash of what was required then, and
# of the C code that was compiled. The checkout's path is part of the hash, because a copied .venv still imports from
# the checkout that it was made for.
stamp=.venv/installed-extras
state=$("$venv_python" - <<'PYTHON'
import glob, hashlib, os, sys
sources = sorted(glob.glob("trainer/fused/*.[ch]"))
files = [open(name, "rb").read() for name in ("setup.py", "pyproject.toml", "deploy/constraints.txt", *sources)]
print(hashlib.sha256(repr((files, sys.version, os.getcwd())).encode()).hexdigest()[:16])
PYTHON
)
missing=0
for extra in "${extras[@]}"; do
  grep -qsx "$state $extra" "$stamp" || missing=1
done
((missing)) || exit 0

echo "installing into .venv: this takes some minutes and 3 GB, once" >&2
"$venv_python" -m pip install --quiet --disable-pip-version-check -c deploy/constraints.txt -e ".[$1]" ||
  fail "pip could not install everything: its messages are above; run this again"
printf "$state %s\n" "${extras[@]}" >>"$stamp"
