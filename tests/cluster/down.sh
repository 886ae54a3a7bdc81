#!/usr/bin/env bash
# Stops a bed, running or half started, and removes everything of it: processes, links, routes, cgroups, files.
#   down.sh BED
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bed=${1:-}
. "$here/bed.sh"
[ -d "$state" ] || { say "bed $bed is not up"; exit 0; }

# Whether a process that was noted is still this bed's: numbers are used again.
is_ours() { tr '\0' ' ' <"/proc/$1/cmdline" | grep -q -F -e "$here/node.sh $bed "; }
is_gone() { ! is_ours "$1"; }
no_link() { ! ip link show "$1"; }
remove_cgroup() {
  [ ! -d "$1" ] || find "$1" -depth -type d -exec rmdir {} \;
  [ ! -d "$1" ]
}

for node in "${nodes[@]}"; do
  # Killing either ends both, and the kernel ends everything else in the node's namespaces.
  for file in pid outer.pid; do
    [ -s "$state/node$node/$file" ] || continue
    pid=$(cat "$state/node$node/$file")
    ! is_ours "$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    await "process $pid of node$node has ended" 30 is_gone "$pid"
  done
  # It goes with the namespace of its other end, but that stays as long as a connection lingers whose peer was killed.
  ! ip link show "$(node_link "$node")" >/dev/null 2>&1 || ip link delete "$(node_link "$node")" 2>/dev/null || true
  await "the link of node$node is gone" 30 no_link "$(node_link "$node")"
  for parent in $(cgroup_hierarchies); do
    await "the cgroups of node$node are empty" 30 remove_cgroup "$parent/$(node_link "$node")"
  done
done
# The routes go with it.
! ip link show "$bridge" >/dev/null 2>&1 || ip link delete "$bridge"
rm -rf "$state"
say "bed $bed is stopped"
