#!/bin/sh
# The image starts with this program. It starts Beam's program `boot`, and through it the workers, as the user beam.
# Where it is not root, as on Kubernetes, it has nothing to give up and starts `boot` at once.
set -eu
user=beam
boot=/opt/apache/beam/boot

[ "$(id -u)" = 0 ] || exec "$boot" "$@"
as_user="setpriv --reuid=$user --regid=$user --init-groups --no-new-privs"

# Workers write to the folder that --semi_persist_dir names. On Dataflow, the folder belongs to root.
folder=/tmp previous=''
for argument; do
  case $previous in
    --semi_persist_dir | -semi_persist_dir) folder=$argument ;;
  esac
  case $argument in
    --semi_persist_dir=* | -semi_persist_dir=*) folder=${argument#*=} ;;
  esac
  previous=$argument
done
mkdir -p "$folder"
$as_user test -w "$folder" || chown "$user": "$folder"

HOME=$(getent passwd "$user" | cut -d: -f6)
export HOME
exec $as_user "$boot" "$@"
