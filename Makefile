# The targets a newcomer needs; CI calls the same ones.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/sinew-target
# cargo-nextest comes as a wheel with the light peers, unless it is installed already.
export PATH := $(PATH):$(or $(SINEW_PEERS),$(HOME)/.cache/sinew-peers)/light/bin
SINEW := $(CARGO_TARGET_DIR)/debug/sinew
# Everything but Rerun (`sinew --features view`), which `make interop` builds.
ALL := --workspace --features sinew/default,sinew-runtime/topics,sinew-datasets/gstreamer,sinew-datasets/remote,sinew-datasets/ndarray

.PHONY: demo test interop lerobot stores oracle rerun lint fuzz docs bench bench-datasets bench-policies bench-hub build setup

demo: setup ## set up, simulate an SO-101, record, replay, run a policy; report at the end
	cargo build -p sinew
	$(SINEW) demo --out out/demo

test: ## all tests that need no PyTorch
	scripts/setup tests
	cargo build $(ALL) --all-targets
	cargo nextest run $(ALL)
	cargo test --doc $(ALL) --quiet

interop: rerun oracle stores lerobot ## the tests against the heavy peers (PyTorch, LeRobot, Hugging Face's crates, S3, Rerun)

lerobot: ## the tests against LeRobot and the hub's clients, then docs/interop.md (after `make test`); TESTS chooses some
	scripts/setup interop
	cargo nextest run --profile interop $(ALL) -E '$(or $(TESTS),all())'
	$(if $(TESTS),,scripts/interop-table)

oracle: ## the hub's Xet formats beside Hugging Face's own crates (250 crates, built apart)
	cd hub/oracle && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/oracle cargo test --locked --features simulation -- --include-ignored

# Tests that bring a store, a database or a second server themselves are left to `make test` and `make lerobot`.
STORES := binary(/^(xet_client|command|operate|clients|clients_git)$$/) + (binary(server) - test(many_requests) - test(guessed))
stores: ## the hub's tests on PostgreSQL; then on two servers in turn, with objects in a real S3 server as well
	scripts/setup interop
	scripts/hub-postgres cargo nextest run --profile postgres $(ALL) \
	  -E 'binary(/^(authorisation|server|operate|replicas|kills|xet_client|clients_git)$$/)'
	SINEW_HUB_REPLICAS=2 scripts/hub-postgres scripts/hub-s3 cargo nextest run --profile stores $(ALL) -E '$(STORES)'

rerun: ## a build with Rerun (400 crates more), and its tests
	scripts/setup tests
	cargo build -p sinew --features view
	cargo nextest run --profile rerun -p sinew-tests --features view

lint: ## formatting, clippy, docs, licences and advisories
	cargo fmt --all --check
	cargo clippy $(ALL) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(ALL) --no-deps --quiet
	scripts/check-deps

fuzz: setup ## fuzz what reads strangers' files, FUZZ_SECONDS (60) for each of TARGETS (all)
	cargo build $(ALL) --example fuzz_seeds
	$(CARGO_TARGET_DIR)/debug/examples/fuzz_seeds $(CARGO_TARGET_DIR)/fuzz/seeds
	scripts/fuzz $(TARGETS)

docs: ## API documentation
	cargo doc --workspace --no-deps

bench: setup ## side-by-side benchmarks; prints ratios
	scripts/setup tests
	benches/run

bench-datasets: ## the datasets beside lerobot (PyTorch, gigabytes); 20 minutes
	scripts/setup interop
	cargo build $(ALL) --all-targets
	benches/datasets/run

bench-policies: ## policies beside PyTorch and onnxruntime (gigabytes); 10 minutes
	scripts/setup interop
	cargo build $(ALL) --all-targets
	benches/policies/run

bench-hub: ## the hub beside nginx and Hugging Face's chunk store, with the real client (6 GB); 40 minutes
	scripts/setup interop
	cargo build -p sinew-hub --examples
	benches/hub/run

setup:
	scripts/setup
