#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/image/pin.sh

Pins the images on which the two Dockerfiles build: it asks the registries which digest each tag has now, and writes the
digest behind the tag. From then on a build takes exactly these images, whatever the tags come to mean. Run it again to
take the newer images of the same tags, and look at the difference before you commit it. The script needs Docker.
END
}

[[ ${1:-} != --help && ${1:-} != -h ]] || { usage && exit; }
(($# == 0)) || fail "unknown argument $1: expected none but --help"
check_programs docker
failure=1
for file in "$checkout"/deploy/{image,vertex}/Dockerfile; do
  for image in $(sed -n 's/^ARG [A-Z]*=\([^@]*:[^@]*\)\(@.*\)\{0,1\}$/\1/p' "$file"); do
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image") ||
      fail "docker cannot get the digest of $image: its message is above"
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || fail "docker says that $image has the digest $digest: expected sha256:..."
    sed -i "s|=$image\(@.*\)\{0,1\}$|=$image@$digest|" "$file"
    echo "$image@$digest"
  done
done
