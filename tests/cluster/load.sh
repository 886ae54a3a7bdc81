#!/usr/bin/env bash
# Packs our programs, and the Prometheus that `glooshot init` installs, into images, and imports them on both nodes of a bed.
#   load.sh BED DIRECTORY    the directory has glooshot and glooshot-loadgen, as target/debug has after cargo build
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ $# -eq 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
bed=$1 programs=$2
. "$here/bed.sh"
[ -s "$state/node1/pid" ] || die "bed $bed is not up"
prometheus=$("$here/build.sh" prometheus)

work=$(mktemp -d -p "$state" load.XXXXXX)
trap 'rm -rf "$work"' EXIT
# What debuggers read is most of a program's size, and is not needed in a pod.
for name in glooshot glooshot-loadgen; do
  [ -x "$programs/$name" ] || die "there is no $programs/$name; cargo build makes it"
  strip -o "$work/$name" "$programs/$name"
done
"$here/image.py" "$work/glooshot.tar" "$glooshot_image" "$work/glooshot" "$work/glooshot-loadgen"
"$here/image.py" "$work/prometheus.tar" "$prometheus_image" "$prometheus/prometheus"
imports=()
for node in "${nodes[@]}"; do
  for image in glooshot prometheus; do
    "$here/on.sh" "$bed" "$node" ctr --namespace k8s.io images import "$work/$image.tar" >/dev/null &
    imports+=($!)
  done
done
for import in "${imports[@]}"; do wait "$import" || die "an image cannot be imported"; done
say "bed $bed has $glooshot_image and $prometheus_image"
echo "export GLOOSHOT_IMAGE=$glooshot_image GLOOSHOT_PROMETHEUS_IMAGE=$prometheus_image"
