# Everything people and CI run. `make help` lists the targets.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export TOLLGATE_CACHE ?= $(HOME)/.cache/tollgate
export PATH := $(TOLLGATE_CACHE)/tools/prometheus/usr/bin:$(PATH)
# llama.cpp is the slow part of a build: its objects are kept between profiles and clones.
export CMAKE_C_COMPILER_LAUNCHER := ccache
export CMAKE_CXX_COMPILER_LAUNCHER := ccache
export CCACHE_DIR ?= $(TOLLGATE_CACHE)/ccache
export CARGO_TERM_PROGRESS_WHEN ?= auto

TARGET  := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release/tollgate
DEBUG   := $(TARGET)/debug/tollgate
CONTROL := $(TARGET)/qwen-0.5b-control.gguf
DATA    ?= ../shared/data
ARGS    ?=

.PHONY: help setup build demo test fmt lint doc rules unit test-models bench clients forms dashboards chaos soak fuzz deny train bench-easy bench-sparsity bench-draft distil bench-engine bench-router bench-routed bench-pacing bench-ledger llama-tests minilm fuzz-parsers bench-quant

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s'|'

setup: ## install what a build needs (Debian packages; asks for sudo if you are not root)
	@scripts/setup.sh build

build: setup ## the release binary, target/release/tollgate
	@echo '==> building the release binary (about a quarter of an hour cold, most of it llama.cpp)'
	cargo build --release --locked -p tollgate

demo: build ## bring the whole thing up on real models and route real requests (ARGS=--once: exit after the table)
	$(RELEASE) models pull onnxruntime qwen-coder-0.5b qwen-coder-1.5b
	$(RELEASE) models make-moe qwen-0.5b-moe
	python3 scripts/demo.py --tollgate $(RELEASE) $(ARGS)

test: ## format, lints, docs, unit and integration tests, against real parts
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory fmt lint doc rules test-models unit

fmt:
	@echo '==> format'
	cargo fmt --all --check

lint:
	@echo '==> clippy'
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
	@echo '==> documentation'
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet

# The tests' real parts: ONNX Runtime, a small dense model, and the MoE made from it.
test-models:
	@echo '==> the binary and the models that the tests use'
	cargo build --locked -p tollgate
	$(DEBUG) models pull onnxruntime smollm2-135m
	$(DEBUG) models make-moe smollm2-135m-moe

unit:
	@echo '==> tests'
	TOLLGATE_BIN=$(abspath $(DEBUG)) cargo test --workspace --locked

rules:
	@echo '==> dashboards: rules and scrape configuration'
	promtool check rules dashboards/rules.yml
	promtool check config dashboards/prometheus.yml

clients: ## real SDKs and agent frameworks against a real gateway (openai for Python and Node, LangGraph, CrewAI)
	@scripts/setup.sh clients
	@$(MAKE) --no-print-directory test-models
	@python3 tests/live/clients.py --tollgate $(DEBUG) $(ARGS)

llama-tests: ## llama.cpp's own server tests against `tollgate engine`; which fail, and why that is right (ARGS='-k stream')
	@scripts/setup.sh clients
	@$(MAKE) --no-print-directory test-models
	@python3 tests/live/llama/run.py --tollgate $(abspath $(DEBUG)) $(ARGS)

minilm: ## a real embedding model in `tollgate engine` against another implementation of it
	@scripts/setup.sh clients
	@$(MAKE) --no-print-directory test-models
	@bash -euc '. router/training/venv.sh; training_venv router/training/requirements.txt; "$$python" tests/live/minilm.py --tollgate $(DEBUG)'

forms: build ## how many answers of the demo's models keep to strict schemas and forced calls (ARGS='--tries 200')
	@scripts/setup.sh clients
	@python3 tests/live/forms.py --tollgate $(RELEASE) $(ARGS)

dashboards: ## every panel and rule on a real Prometheus over a real gateway under traffic; draws a picture of it
	@scripts/setup.sh dashboards
	@$(MAKE) --no-print-directory test-models
	@python3 tests/live/dashboards.py --tollgate $(DEBUG) --out $(TARGET)/dashboards $(ARGS)

chaos: ## kill -9 under load: the gateway a hundred times on one ledger (TOLLGATE_KILLS), a worker fifty times (TOLLGATE_WORKER_KILLS)
	@$(MAKE) --no-print-directory test-models
	TOLLGATE_BIN=$(abspath $(DEBUG)) cargo test --locked -p tollgate-tests --test it -- --ignored --nocapture chaos

soak: ## two hours of mixed load with clients that leave, on local engines: memory stays flat, no slot is stuck (ARGS='--minutes 120')
	@$(MAKE) --no-print-directory test-models
	cargo build --release --locked -p tollgate
	@python3 tests/live/soak.py --tollgate $(RELEASE) $(ARGS)

fuzz: ## the randomized tests of money, budgets, policies and parsers, fifty times as long (a million steps on budgets alone)
	TOLLGATE_CASES=20000 PROPTEST_CASES=20000 cargo test --locked -p tollgate-policies -p tollgate --lib

# The stack of the threads that render and parse in a worker; on the stable compiler, so without a sanitizer.
fuzz-parsers: ## cargo-fuzz on chat templates, models' answers and requests, one after the other (ARGS='--seconds 600')
	@scripts/setup.sh build
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@python3 fuzz/run.py $(ARGS)

# One thread's worth of load on the same cores as what is measured: ratios within a round, never absolute figures.
bench: ## gateway overhead against a bare hyper proxy, nginx and haproxy (ARGS='--rounds 3 --seconds 2')
	@scripts/setup.sh bench
	cargo build --release --locked -p tollgate -p tollgate-tests --bins
	$(RELEASE) models pull onnxruntime
	PATH=$(PATH):/usr/sbin python3 tests/bench/overhead.py --bin $(dir $(RELEASE)) $(ARGS)

bench-easy: build ## what the demo's MoE can still do: 280 easy prompts against its dense source, the control and the larger model
	$(RELEASE) models pull qwen-coder-0.5b qwen-coder-1.5b
	$(RELEASE) models make-moe qwen-0.5b-moe
	$(RELEASE) models make-moe qwen-0.5b-moe --dense-control --out $(CONTROL)
	python3 scripts/bench_easy.py --tollgate $(RELEASE) --models qwen-0.5b-moe $(CONTROL) qwen-coder-0.5b qwen-coder-1.5b $(ARGS)

bench-sparsity: build ## what sparsity itself gains: the demo's MoE against the dense model stored the same way (ARGS='--threads 1')
	$(RELEASE) models pull qwen-coder-0.5b
	$(RELEASE) models make-moe qwen-0.5b-moe
	$(RELEASE) models make-moe qwen-0.5b-moe --dense-control --out $(CONTROL)
	python3 scripts/bench_sparsity.py --tollgate $(RELEASE) --control $(CONTROL) $(ARGS)

bench-draft: build ## what speculative decoding could gain with the demo's MoE as the draft of the larger model (ARGS='--threads 1')
	$(RELEASE) models pull qwen-coder-1.5b
	$(RELEASE) models make-moe qwen-0.5b-moe
	python3 scripts/bench_draft.py --tollgate $(RELEASE) $(ARGS)

distil: build ## learn the demo MoE's routers and corrections anew (DATA=folder, ARGS='--epochs 3 --minutes 60')
	$(RELEASE) models pull qwen-coder-0.5b qwen-coder-1.5b
	engine/moe/distil.sh $(RELEASE) $(DATA) $(ARGS)

bench-quant: build ## what fewer bits cost the larger model: its quantizations asked the same prompts, paired (ARGS='--prompts 320'; goes on where it stopped)
	$(RELEASE) models pull qwen-coder-1.5b
	python3 router/training/demo/arms.py --tollgate $(abspath $(RELEASE)) --folder $(TARGET)/arms $(ARGS)

bench-engine: build ## the local engine against llama-server of the same llama.cpp, which is built for it (ARGS='--rounds 5 --threads 2')
	$(RELEASE) models pull qwen-coder-0.5b
	server=$$(scripts/llama_server.sh); python3 tests/bench/engine.py --tollgate $(RELEASE) --llama-server "$$server" \
	  --model $(TOLLGATE_CACHE)/models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf $(ARGS)

bench-routed: build ## what routing between the demo's two models is worth, on prompts that both have answered and that were graded
	$(RELEASE) models pull onnxruntime
	python3 router/training/demo/routed.py --tollgate $(RELEASE) $(ARGS)

bench-ledger: ## receipts per second, and how long reports, a start and a replay take over a million of them (ARGS=count)
	cargo bench --locked -p tollgate --bench ledger -- $(ARGS)

bench-pacing: build ## budgets that pace against a hard cut-off, on days of made-up traffic; writes the table and chart of docs/budgets.md
	$(RELEASE) models pull onnxruntime
	tests/bench/pacing.sh

deny: ## licences, advisories and duplicate versions of the dependencies
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check

train: setup ## make the classifier anew: make train DATA=folder
	router/training/train.sh $(DATA)

# Builds the router crate alone: no C++, so no setup.
bench-router: ## measure routing quality, robustness and latency into docs/router-bench.md (DATA=folder)
	router/training/bench.sh $(DATA)
