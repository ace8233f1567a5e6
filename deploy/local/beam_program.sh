#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
deploy/local/beam_program.sh prism|boot

Builds one of Beam's Go programs from its module, at the version of Beam that deploy/constraints.txt pins, and prints
its path. Needs Go (https://go.dev/doc/install); what has been built before is used again, without Go or a network.

  prism  the runner behind --runner=PrismRunner: python -m pipeline ... --prism_location="$(deploy/local/beam_program.sh prism)"
  boot   what starts a worker in Beam's images: installs the packages that the launcher has staged
END
}

fail() {
  echo "beam_program.sh: $*" >&2
  exit 2
}

(($# == 1)) || fail "expected one program, prism or boot, and not: ${*:-nothing}"
case $1 in
  --help | -h) usage && exit ;;
  prism) package=go/cmd/prism ;;
  boot) package=python/container ;;
  *) fail "unknown program $1: expected prism or boot" ;;
esac

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
version=$(sed -n 's/^apache-beam==//p' "$checkout/deploy/constraints.txt")
[[ $version ]] || fail "deploy/constraints.txt pins no apache-beam: expected a line such as apache-beam==2.77.0"
program=$checkout/build/beam/$1-$version
if [[ ! -x $program ]]; then
  command -v go >/dev/null || fail "go is not there, and $1 is built with it: install it from https://go.dev/doc/install"
  mkdir -p "$checkout/build/beam"
  temporary=$(mktemp -d "$checkout/build/beam/XXXXXX")
  trap 'rm -rf "$temporary"' EXIT
  echo "building $1 of Beam $version: a minute or two, this once" >&2
  GOBIN=$temporary GOFLAGS=-buildvcs=false go install "github.com/apache/beam/sdks/v2/$package@v$version" >&2 ||
    fail "go could not build $1: see above"
  mv "$temporary/${package##*/}" "$program"
fi
echo "$program"
