#!/usr/bin/env bash
# Where the processor time of a request goes, in our proxy and in HAProxy: perf's profile of each while the bench loads it.
# profile.sh [CASE]: what is asked, by default forward-64; of the case rules, each with one endpoint and with a thousand.
set -euo pipefail
cd "$(dirname "$0")/../.."

CASE=${1:-forward-64}
# How long each is looked at, from when its first measurement has begun.
SECONDS_EACH=8
ROUNDS=8

# In a shell of its own, which removes at its end what only the installation needs.
(
  . tests/install.sh
  need perf linux-perf
  install_missing
)
samples=$(mktemp -d)
trap 'rm -rf "$samples"' EXIT

# works PROCESS: it has done something, so it is neither on its way to become another program nor one that waits for its turn.
works() {
  cat "/proc/$1/task"/*/schedstat 2>/dev/null | awk '{ worked += $1 } END { exit worked < 1e8 }'
}

# profile PATTERN SUBJECT: samples of the process that the bench starts for that subject, by what is in its command.
profile() {
  "${CARGO:-cargo}" bench --quiet --workspace --bench peers -- "$CASE" --rounds "$ROUNDS" --only "$2" >"$samples/$2.bench" &
  local bench=$! process=
  until process=$(pgrep --parent "$(pgrep --parent "$bench" | head -n 1)" --full -- "$1" 2>/dev/null) && works "$process"; do
    kill -0 "$bench" 2>/dev/null || { echo "the bench ended before $1 ran" >&2; return 1; }
    sleep 0.05
  done
  readlink "/proc/$process/exe" >"$samples/$2.program"
  perf record --quiet --event cpu-clock --freq 4999 --output "$samples/$2" --pid "$process" -- sleep "$SECONDS_EACH" 2>/dev/null
  wait "$bench"
}

# shares SUBJECT KEY LEAST: what perf says by that key, down to that share in percent.
shares() {
  perf report --input "$samples/$1" --no-children --sort "$2" --percent-limit "$3" --stdio 2>/dev/null | sed '/^#/d; /^ *$/d; s/[ -]*$//'
}

# microseconds SUBJECT: what a request cost it in that run.
microseconds() {
  sed -n '/CPU us/{n;p}' "$samples/$1.bench" | cut -c 38-49 | tr -d ' '
}

# Last who does next to nothing, see README.md.
subjects=(glooshot:ours haproxy:haproxy relay:tokio relay:least relay:relay)
[ "$CASE" != rules ] || subjects=(glooshot:rules1 glooshot:rules1000 haproxy:haproxy haproxy:haproxy1000 relay:relay relay:relay1000)
for pair in "${subjects[@]}"; do
  program=${pair%%:*} subject=${pair##*:}
  profile "$program" "$subject"
  printf '\n%s\n' "== $program: $subject"
  sed -n '/CPU us/,$p' "$samples/$subject.bench" | head -n 2
  printf '\n%s\n' "by where the code is from:"
  shares "$subject" dso 0.5
  printf '\n%s\n' "by function:"
  shares "$subject" dso,symbol 0.5
  # HAProxy has no debug information, and is one program.
  if [ "$program" != haproxy ]; then
    printf '\n%s\n' "by whose code it is, inlined or not:"
    benches/peers/whose.py "$samples/$subject" "$(cat "$samples/$subject.program")" "$(microseconds "$subject")"
  fi
done
