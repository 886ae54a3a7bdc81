#!/usr/bin/env bash
# Builds the programs as they are released, laid out by what they do: built with counters, run for a minute, built anew by what those say.
# release.sh DIRECTORY: where glooshot and glooshot-loadgen are put. It takes from twenty minutes to an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

released=${1:?"which directory? For example: benches/release.sh target/released"}
target=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}/by-profile")
counts=$target/counts
host=$(rustc --print host-tuple)
counting=$target/counting/$host/release final=$target/final/$host/release
# What the programs say while they are trained, and where they listen meanwhile.
log=$target/training.log
at=127.0.78.1
llvm_profdata=$(rustc --print target-libdir)/../bin/llvm-profdata

# Of the same LLVM as the compiler, which no other package has for certain.
[ -x "$llvm_profdata" ] || rustup component add llvm-tools

# build NAME FLAGS: both programs with these flags, in a target directory of their own. With --target, flags are not for build
# scripts and macros, which would count themselves.
build() {
  echo "building ($1)" >&2
  RUSTFLAGS="${RUSTFLAGS:-} $2" CARGO_TARGET_DIR=$target/$1 "${CARGO:-cargo}" build --locked --release --target "$host" \
    --package glooshot --package glooshot-loadgen --bins
}

started=()
trap '[ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true' EXIT

# serves PORT: waits until somebody listens there.
serves() {
  local deadline=$((SECONDS + 20))
  until (exec 3<>"/dev/tcp/$at/$1") 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "nobody listens on $at:$1 after 20 s; see $log" >&2; return 1; }
    kill -0 $! || { echo "what should listen on $at:$1 has ended; see $log" >&2; return 1; }
    sleep 0.05
  done
}

# load URL OPTIONS...: some seconds of requests, whose answers need not be good.
load() {
  "$counting/glooshot-loadgen" run --duration 3s --threads 1 "${@:2}" "$1" >/dev/null
}

# The bench's own Experiment: forwarding, aborts and delays with a condition on each. What is not done here is taken for something that
# is seldom done, and made small instead of fast.
train() {
  local routes=() route port
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=tls.bench \
    -keyout "$target/key.pem" -out "$target/cert.pem"
  # The service is not what a release is laid out for.
  LLVM_PROFILE_FILE=/dev/null "$counting/glooshot" bookinfo ratings --listen $at:9080 2>"$log" &
  started+=($!)
  serves 9080
  # Behind the last two are HTTP/2 to the upstream, by another of these routes, and answers of some size, the proxy's own metrics.
  for route in {plain:8001,abort10:8002,abort100:8003,delay:8004,h2:8005,tls:8006}-9080 both2:8007-8005 metrics:8008-8090; do
    port=${route%-*}
    routes+=(--route "bench/$port=$at:${port#*:}->$at:${route#*-}")
  done
  # And more endpoints than fit into a balancer's window, which are other listeners of the same proxy.
  local last each=()
  for last in {2..201}; do
    each+=("127.0.78.$last:8010")
    routes+=(--route "bench/each-$last:80=127.0.78.$last:8010->$at:9080")
  done
  routes+=(--route "bench/many:8009=$at:8009->$(IFS=,; echo "${each[*]}")")
  "$counting/glooshot" run --workers 1 --listen-metrics $at:8090 -f benches/peers/configs/experiment.yaml "${routes[@]}" \
    --upstream-protocol bench/h2:8005=http1 \
    --tls "bench/tls:8006=$target/cert.pem,$target/key.pem" --upstream-tls bench/tls:8006=plaintext \
    >/dev/null 2>>"$log" &
  started+=($!)
  serves 8008
  echo "training" >&2
  head --bytes 65536 /dev/zero | tr '\0' x >"$target/body"
  local sixtyfour=(--connections 64) streams=(--http2 --connections 4 --streams 16) body=(--method POST --body-file "$target/body")
  load http://$at:8001/ratings/1 "${sixtyfour[@]}"
  load http://$at:8002/ratings/1 "${sixtyfour[@]}"
  load http://$at:8003/ratings/1 "${sixtyfour[@]}"
  load http://$at:8009/ratings/1 "${sixtyfour[@]}"
  load http://$at:8001/ratings/1 "${sixtyfour[@]}" --rate 5000
  load http://$at:8004/ratings/1 "${sixtyfour[@]}" --rate 2000
  load http://$at:8005/ratings/1 "${streams[@]}"
  load http://$at:8007/ratings/1 "${streams[@]}"
  load https://$at:8006/ratings/1 "${sixtyfour[@]}" --insecure
  load https://$at:8006/ratings/1 "${streams[@]}" --insecure
  load http://$at:8008/metrics --connections 4 --rate 50
  # Every request over a new connection.
  load http://$at:8001/ratings/1 "${sixtyfour[@]}" --header 'connection: close'
  load http://$at:8001/ratings/1 --connections 4 "${body[@]}"
  load http://$at:8007/ratings/1 --http2 --connections 1 --streams 4 "${body[@]}"
  # A program writes its counts at its end, which is not that of its Experiment.
  kill -INT "${started[@]}"
  wait "${started[@]}" || true
  started=()
}

mkdir -p "$released"
build counting "-Cprofile-generate=$counts"
# A program that has not changed does the same again; and cargo builds anew what was built by a file that is newer.
profile=$target/profile
if [ ! "$profile" -nt "$counting/glooshot" ] || [ ! "$profile" -nt "$counting/glooshot-loadgen" ]; then
  # Some crates run what their build scripts compile; that does not count.
  rm -rf "$counts"
  train
  "$llvm_profdata" merge --output "$profile" "$counts"
fi
build final "-Cprofile-use=$profile"
install --target-directory "$released" "$final/glooshot" "$final/glooshot-loadgen"
