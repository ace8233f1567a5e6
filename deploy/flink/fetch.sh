#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/flink/fetch.sh [--to DIR] [--flink_version X.Y.Z] [--beam_version X.Y.Z] [--assemble]

Downloads what a Flink cluster on this machine needs: Flink itself, from PyPI, and Beam's job server for that version of
Flink, from Maven Central. The job server is a Java program that translates a Beam pipeline into a job of Flink. The
script needs Java 11 or 17, and mvn. It compares each file with the SHA-256 that stands in this script. For a version
without one, it prints the file's SHA-256 instead. It keeps what is already there. You may interrupt it and run it again.

  --to DIR             the folder for DIR/flink-... and DIR/job-server-...jar (default: build/flink in the checkout)
  --flink_version V    the version of Flink; default: 1.19.3
  --beam_version V     the version of the job server; default: the version in deploy/constraints.txt, which workers have
  --assemble           build the job server from Beam's Flink runner and the packages that it needs. This is for a Maven
                       repository that has these packages but not the finished job server
END
}

# The SHA-256 of each file, by the file's name. A file without one is compared with the repository's own sum only.
declare -A known_sums=(
  [apache-flink-libraries-1.19.3.tar.gz]=4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60
)

to=$checkout/build/flink flink=1.19.3 assemble=0
beam=$(pinned_beam)
while (($#)); do
  [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
  case $1 in
    --help | -h) usage && exit ;;
    --assemble) assemble=1 && shift && continue ;;
    --to | --flink_version | --beam_version) check_value "$@" ;;
    *) fail "unknown argument $1: expected --to, --flink_version, --beam_version or --assemble" ;;
  esac
  case $1 in
    --to) to=$2 ;;
    --flink_version) flink=$2 ;;
    --beam_version) beam=$2 ;;
  esac
  shift 2
done
[[ $flink =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "--flink_version $flink: expected a release, such as 1.19.3"
[[ $beam =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "--beam_version $beam: expected a release, such as 2.77.0"

failure=1
for tool in java mvn; do
  command -v "$tool" >/dev/null || fail "$tool is not on the PATH (on Debian and Ubuntu: apt install maven)"
done
python=$checkout/.venv/bin/python
[[ -x $python ]] || fail "$checkout/.venv is missing: make it with deploy/local/setup_venv.sh pipeline"
mkdir -p "$to"
to=$(cd "$to" && pwd)
work=$to/.fetching-$$
trap 'rm -rf "$work"' EXIT
mkdir "$work"

check_sum() { # FILE: compares a file that was fetched with its known sum
  local name=${1##*/} sum
  sum=$(sha256sum "$1")
  sum=${sum%% *}
  [[ ${known_sums[$name]:-$sum} == "$sum" ]] ||
    fail "$name has the SHA-256 $sum: expected ${known_sums[$name]}; it may have been tampered with"
  [[ ${known_sums[$name]:-} ]] || echo "no SHA-256 of $name is known here to compare with; it has $sum" >&2
}

if [[ ! -d $to/flink-$flink ]]; then
  echo "fetching Flink $flink, which is 230 MB" >&2
  # pip also compares the archive with the hash in PyPI's index.
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$work" \
    "apache-flink-libraries==$flink" >&2 ||
    fail "--flink_version $flink: pip cannot get apache-flink-libraries==$flink; its messages are above"
  check_sum "$work/apache-flink-libraries-$flink.tar.gz"
  tar -xzf "$work/apache-flink-libraries-$flink.tar.gz" -C "$work"
  compgen -G "$work/apache-flink-libraries-$flink/deps/lib/flink-dist-*.jar" >/dev/null ||
    fail "apache-flink-libraries==$flink has no deps/lib/flink-dist-*.jar: expected a distribution of Flink"
  mv "$work/apache-flink-libraries-$flink/deps" "$to/flink-$flink"
fi

jar=$to/job-server-flink-${flink%.*}-beam-$beam.jar artifact=org.apache.beam:beam-runners-flink-${flink%.*}-job-server:$beam
maven() { # ARGUMENT...: runs Maven, and shows only the first of its dozen error lines if it fails
  mvn --batch-mode --quiet --no-transfer-progress --strict-checksums --update-snapshots -Dstyle.color=never \
    -Dmaven.repo.local="$to/maven" "$@" >"$work/maven.log" 2>&1 || { grep -m1 ERROR "$work/maven.log" >&2 && return 1; }
}
if [[ ! -f $jar ]]; then
  if ((assemble)); then
    echo "assembling Beam $beam's job server for Flink ${flink%.*}" >&2
    maven --file "$checkout/deploy/flink/job_server.xml" package -Dflink.version="${flink%.*}" -Dbeam.version="$beam" \
      -Doutput="$work" || fail "--assemble: Maven cannot build the job server; its message is above"
    mv "$work/job-server.jar" "$jar"
  else
    echo "fetching $artifact, which is 150 MB" >&2
    maven org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -Dartifact="$artifact" -DoutputDirectory="$work" ||
      fail "Maven cannot get $artifact: expected a repository that has it, such as Maven Central (see --assemble)"
    check_sum "$work/beam-runners-flink-${flink%.*}-job-server-$beam.jar"
    mv "$work/beam-runners-flink-${flink%.*}-job-server-$beam.jar" "$jar"
  fi
fi

printf '%s=%q\n' flink_home "$to/flink-$flink" job_server_jar "$jar"
