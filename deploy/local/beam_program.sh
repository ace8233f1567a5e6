#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/local/beam_program.sh prism|boot

Builds one of the programs of Beam that are written in Go, and prints the path of the program. The version is the version
of Beam in deploy/constraints.txt. The script needs Go (https://go.dev/doc/install) the first time; after that it prints
the path of the program that it has built, and needs neither Go nor a network.

  prism  a runner for one machine: python -m pipeline ... --runner=PrismRunner \
           --prism_location="$(deploy/local/beam_program.sh prism)"
  boot   the program that starts a worker in Beam's images; it first installs the packages that the job brings
END
}

(($# == 1)) || fail "expected one program, prism or boot, and not: ${*:-nothing}"
case $1 in
  --help | -h) usage && exit ;;
  prism) package=go/cmd/prism ;;
  boot) package=python/container ;;
  *) fail "unknown program $1: expected prism or boot" ;;
esac

version=$(pinned_beam)
program=$checkout/build/beam/$1-$version
if [[ ! -x $program ]]; then
  command -v go >/dev/null || fail "go is not on the PATH, and $1 is built with it: install it from https://go.dev/doc/install"
  mkdir -p "$checkout/build/beam"
  temporary=$(mktemp -d "$checkout/build/beam/XXXXXX")
  trap 'rm -rf "$temporary"' EXIT
  echo "building $1 of Beam $version; this takes a minute or two, once" >&2
  GOBIN=$temporary GOFLAGS=-buildvcs=false go install "github.com/apache/beam/sdks/v2/$package@v$version" >&2 ||
    fail "go could not build $1: its messages are above"
  mv "$temporary/${package##*/}" "$program"
fi
echo "$program"
