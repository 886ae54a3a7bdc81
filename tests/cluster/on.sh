#!/usr/bin/env bash
# Runs a command on a node of a bed, or sends a signal to one of the node's components.
#   on.sh BED NODE COMMAND...             on.sh 0 2 nft list ruleset
#   on.sh BED NODE -SIGNAL COMPONENT      on.sh 0 2 -STOP kube-proxy
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
bed=$1 node=$2
shift 2
. "$here/bed.sh"
[ -s "$state/node$node/pid" ] || die "bed $bed has no node $node that is up"
if [ "${1:0:1}" = - ]; then
  number=$(awk -v name="$2" '$1 == name { print $2 }' "$state/node$node/components")
  [ -n "$number" ] || die "node $node runs no ${2}; it runs: $(cut -d' ' -f1 "$state/node$node/components" | tr '\n' ' ')"
  set -- kill "$1" "$number"
fi
exec nsenter --target "$(cat "$state/node$node/pid")" --pid --mount --net --uts --ipc -- "$@"
