#!/usr/bin/env bash
# Runs one suite and shows its wall time beside its budget (tests/budgets.txt, seconds with a warm build).
#   tests/suite.sh NAME COMMAND...    tests/suite.sh --summary
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
times=${TMPDIR:-/tmp}/glooshot-suites-$(id -u)-$(printf %s "$here" | cksum | cut -d' ' -f1)

if [ "$1" = --summary ]; then
  printf '%-12s %8s %8s\n' suite seconds budget
  cat "$times"
  rm -f "$times"
  exit 0
fi

name=$1
shift
budget=$(awk -v n="$name" '$1 == n { print $2 }' "$here/budgets.txt")
# The first suite of a run starts the table anew.
[ "$name" = clippy ] && rm -f "$times"
start=$(date +%s)
status=0
"$@" || status=$?
seconds=$(($(date +%s) - start))
line=$(printf '%-12s %8d %8s' "$name" "$seconds" "${budget:--}")
echo "$line" >>"$times"
echo "== $line"
exit $status
