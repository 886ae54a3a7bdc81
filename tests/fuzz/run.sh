#!/usr/bin/env bash
# Runs each fuzz target for so many seconds, two at a time: `run.sh SECONDS`. What it finds of interest is kept in target/fuzz, and
# the next run begins with it; an input that breaks something is kept in artifacts, and the run fails.
set -euo pipefail
cd "$(dirname "$0")"
seconds=$1
cargo=${CARGO:-cargo}
targets=(head chunks h2 plan manifest verdict)
work=target/fuzz
# libFuzzer and cargo-fuzz look for the build here.
unset CARGO_TARGET_DIR

# The longest input; what is longer is only slower.
most_bytes=2048
# An input that takes longer is a hang.
most_seconds=1

prepare() {
  command -v cargo-fuzz >/dev/null || "$cargo" install --locked cargo-fuzz
  rustup run nightly rustc --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
  # No sanitizer: nothing of ours is unsafe, and without one there are several times as many executions.
  "$cargo" +nightly fuzz build --fuzz-dir . --sanitizer none
  "$cargo" build --quiet --example seeds
  for target in "${targets[@]}"; do
    mkdir -p "$work/found/$target" "artifacts/$target"
    target/debug/examples/seeds "$target" "$work/seeds/$target"
  done
}

fuzz() {
  local dictionary=()
  [ -e "dictionaries/$1.dict" ] && dictionary=(-dict="dictionaries/$1.dict")
  "$binaries/$1" "$work/found/$1" "corpus/$1" "$work/seeds/$1" "${dictionary[@]}" -artifact_prefix="artifacts/$1/" \
    -max_total_time="$seconds" -max_len=$most_bytes -timeout=$most_seconds -rss_limit_mb=1024 -print_final_stats=1 \
    >"$work/$1.log" 2>&1
}

# One line for each target: executions, what was covered, inputs that cover it.
show() {
  local log=$work/$1.log
  local last edges features inputs
  # A crash in the first input comes before any of this.
  last=$(grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [0-9]+' "$log" | tail -n 1 || true)
  read -r _ edges _ features _ inputs <<<"${last:-_ - _ - _ -}"
  printf '%-10s %12s %10s %10s %8s  %s\n' "$1" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$edges" "$features" "$inputs" "$2"
}

explain() {
  local file
  file=$(sed -n 's/.*Test unit written to //p' "$work/$1.log" | tail -n 1)
  echo
  grep -m 1 -A 2 -E 'panicked at|ERROR: libFuzzer' "$work/$1.log" | cut -c -400 || tail -n 20 "$work/$1.log"
  echo "the input:     tests/fuzz/${file:-(none was written; see tests/fuzz/$work/$1.log)}"
  echo "to repeat it:  cargo run --manifest-path tests/fuzz/Cargo.toml --bin $1 -- tests/fuzz/$file"
  echo "when fixed:    put it into tests/fuzz/corpus/$1 under a name that says what it is"
}

prepare
binaries=target/$(rustc -vV | sed -n 's/^host: //p')/release
failed=()
running=()
# What runs in the background does not hear Ctrl-C by itself.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
printf '%-10s %12s %10s %10s %8s\n' target executions edges features inputs
# Waits for the first of those that run.
finish() {
  local target=${running[0]%:*}
  if wait "${running[0]#*:}"; then show "$target" ""; else
    show "$target" FAILED
    failed+=("$target")
  fi
  running=("${running[@]:1}")
}
for target in "${targets[@]}"; do
  [ ${#running[@]} -lt 2 ] || finish
  fuzz "$target" &
  running+=("$target:$!")
done
while [ ${#running[@]} -gt 0 ]; do finish; done
for target in "${failed[@]}"; do explain "$target"; done
[ ${#failed[@]} -eq 0 ]
