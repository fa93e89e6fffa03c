# The targets a newcomer needs; CI calls the same ones.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/sinew-target
SINEW := $(CARGO_TARGET_DIR)/debug/sinew

.PHONY: demo test interop lint docs bench build setup

demo: setup ## set up, simulate an SO-101, record, replay, run a policy; report at the end
	cargo build -p sinew --quiet
	$(SINEW) demo --out out/demo

test: ## all tests that need no PyTorch
	scripts/setup tests
	cargo build -p sinew -p sinew-drivers --examples --bins
	cargo nextest run --workspace --features sinew/default
	cargo test --doc --workspace --quiet

interop: ## the tests against the heavy peers (PyTorch, LeRobot)
	scripts/setup interop
	cargo nextest run -p sinew-datasets --features gstreamer,interop --test lerobot

lint: ## formatting, clippy, docs, licences and advisories
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	scripts/check-deps

docs: ## API documentation
	cargo doc --workspace --no-deps

bench: setup ## side-by-side benchmarks; prints ratios
	scripts/setup tests
	benches/run

setup:
	scripts/setup
