# The one command surface. `make help` lists it.

CACHE ?= $(or $(GLOOSHOT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/glooshot)
PROFILE ?= dev
CARGO ?= cargo
export GLOOSHOT_CACHE := $(CACHE)

# In CI the build lives in the cache as well, so that the next run starts warm.
ifeq ($(CI),true)
export CARGO_TARGET_DIR := $(CACHE)/target
endif

# Most tests wait, for a deadline or for another process.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))

SUITE := tests/suite.sh
BINARIES = $(abspath $(or $(CARGO_TARGET_DIR),target))/debug
# What is released, at which these benches look.
RELEASED ?= $(abspath $(or $(CARGO_TARGET_DIR),target))/released
bench bench-profile bench-loadgen: export GLOOSHOT_RELEASED = $(RELEASED)
# Fuzz targets are a workspace of their own.
FUZZ := --manifest-path tests/fuzz/Cargo.toml
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
STOP_TRIALS ?= 1000
# The test bed that a person uses; tests take others.
BED ?= 0
# Always the whole workspace: with another selection of packages cargo would build other features anew.
TEST := $(CARGO) test --workspace
BENCH := $(CARGO) bench --workspace --bench
# The integration tests of these packages.
tests = $(foreach package,$(1),$(patsubst $(package)/tests/%.rs,--test %,$(wildcard $(package)/tests/*.rs)))

.PHONY: help demo release test scenes drill fuzz lint fmt crds readme bed cluster-up cluster-down cluster-smoke hostile soak bench bench-profile bench-micro bench-stop bench-loadgen audit deps clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## The tutorial on this machine, no cluster needed: a cascading failure is found, and its fix proved
	$(CARGO) run --profile $(PROFILE) --quiet --bin glooshot -- demo

release: ## glooshot and glooshot-loadgen as they are released, into target/released: built, run, and built again by what they did
	CARGO="$(CARGO)" benches/release.sh $(RELEASED)

test: deps lint ## Everything with its small numbers: lint, unit, property and black-box tests, a real Prometheus, a real API server, and a real cluster in which everything dies once; needs root
	$(SUITE) build $(TEST) --no-run
	$(SUITE) units $(TEST) --lib --bins
	$(SUITE) domain $(TEST) $(call tests,src/api webhook)
	$(SUITE) fuzz $(CARGO) test $(FUZZ)
	$(SUITE) loadgen $(TEST) $(call tests,loadgen)
	$(SUITE) protocol $(TEST) --test protocol
	$(SUITE) control $(TEST) --test control
	$(SUITE) interop $(TEST) --test interop
	$(SUITE) standalone $(TEST) --test files --test standalone
	$(SUITE) demo $(TEST) --test demo
	tests/cluster/deps.sh
	$(SUITE) bed tests/cluster/build.sh
	$(SUITE) api-server $(TEST) --test api_server
	$(SUITE) controller $(TEST) --test controller
	$(SUITE) in-cluster $(TEST) --test in_cluster -- --nocapture
	@$(SUITE) --summary

scenes: ## The tutorial, deaths, flips, stops and changes in one real cluster, and what its users notice of them; needs root
	$(TEST) --test in_cluster -- --nocapture

drill: deps ## The same tests with their large numbers
	GLOOSHOT_DRILL=1 $(CARGO) test --profile drill --workspace --no-fail-fast

fuzz: ## Each fuzz target for FUZZ_SECONDS (60), two at a time; needs a nightly compiler and a C++ compiler
	CARGO="$(CARGO)" tests/fuzz/run.sh $(FUZZ_SECONDS)

lint: ## Format, clippy and rustdoc, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) fmt $(FUZZ) --check
	$(SUITE) clippy $(CARGO) clippy --workspace --all-targets -- -D warnings
	$(SUITE) clippy-fuzz $(CARGO) clippy $(FUZZ) --lib --bins --examples --tests -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(SUITE) rustdoc $(CARGO) doc --workspace --no-deps --document-private-items

fmt: ## Format the code
	$(CARGO) fmt --all
	$(CARGO) fmt $(FUZZ)

crds: ## Write the CustomResourceDefinitions anew
	$(CARGO) run --quiet --bin glooshot -- crds --output-dir manifests/crds

readme: ## Write the README's table of limits anew
	GLOOSHOT_WRITE=1 $(TEST) --lib -- --exact proxy::limits::tests::the_readme_has_this_very_table

bed: ## Build a whole Kubernetes for this machine into the cache, once: about 15 minutes on two cores
	tests/cluster/deps.sh
	tests/cluster/build.sh

cluster-up: ## Start that Kubernetes with Glooshot's images in it: two nodes, NetworkPolicies enforced; needs root. BED=1 starts another one beside it
	$(CARGO) build --workspace --bins
	@chosen=$$(tests/cluster/up.sh $(BED)) && images=$$(tests/cluster/load.sh $(BED) $(BINARIES)) && printf '%s\n' \
		'' 'It is up. Next:' "  $$chosen:$(BINARIES)" "  $$images" \
		'  glooshot register && glooshot init' \
		'and the rest of docs/tutorial.md, from "In a cluster, without a mesh" on. In the end:' \
		'  make cluster-down$(if $(filter-out 0,$(BED)), BED=$(BED))'

cluster-down: ## Stop it, and remove everything of it
	tests/cluster/down.sh $(BED)

cluster-smoke: ## Start one, see that pods, Services, names and NetworkPolicies work, stop it, and see that nothing is left
	tests/cluster/smoke.sh

hostile: ## What hostile clients do to a hundred good ones: p99, memory, time to idle; needs a quiet machine
	$(BENCH) hostile

soak: ## Mixed traffic, faults and changing plans for SOAK_SECONDS (600): memory, descriptors and accounts at the end
	SOAK_SECONDS=$(SOAK_SECONDS) $(BENCH) soak

bench: release ## The proxy beside HAProxy, nginx, Envoy and toxiproxy; installs what it lacks. BENCH_ARGS="forward-64 --rounds 3 --only ours,haproxy"
	benches/peers/deps.sh
	$(BENCH) peers -- $(BENCH_ARGS)

bench-profile: release ## Where the processor time of a request goes, ours and HAProxy's, by perf. CASE=abort-100 or CASE=rules looks at another than forwarding
	benches/peers/deps.sh
	$(BENCH) peers --no-run
	CARGO="$(CARGO)" benches/peers/profile.sh $(CASE)

bench-micro: ## What each decision about a request costs: fault selection, gate, windows, conditions
	$(BENCH) micro

bench-stop: deps ## How long faults go on behind the crossing response: STOP_TRIALS (1000) trials, and by polling Prometheus
	$(BENCH) stop -- --trials $(STOP_TRIALS)

bench-loadgen: release ## The load generator beside wrk, oha, hey, fortio and h2load; installs what it lacks
	loadgen/benches/peers/deps.sh
	PATH="$$PATH:$(CACHE)/bin:/usr/sbin" $(BENCH) generators

audit: ## cargo-deny: licences, bans, sources; advisories where their database can be reached
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check bans licenses sources
	@$(CARGO) deny check advisories || echo "advisories: not checked (see above)"

deps: ## Install what the tests need: Debian packages, and peers of the proxy into the cache
	tests/deps.sh

clean: ## Remove what was built here
	$(CARGO) clean
	$(CARGO) clean $(FUZZ)
