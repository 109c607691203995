# Every target does its own set-up; `make` alone lists them.

CARGO ?= cargo
CASES ?= 1000000
SEED ?= 1

.PHONY: help setup setup-test demo build dist test test-rust test-clients differential bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

setup:
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh test

demo: setup ## the guard in front of an embedded stand-in for Wire
	@$(CARGO) run --quiet --bin wire-scim-guard -- demo

build: setup ## a debug build
	@$(CARGO) build

dist: setup ## the build that ships
	@$(CARGO) build --profile dist --bin wire-scim-guard

test: setup-test ## everything that CI runs
	@scripts/test.sh

differential: setup ## the guard against a slow reference, CASES=1000000 SEED=1
	@$(CARGO) build --release --bin wire-scim-guard
	@python3 tests/differential/run.py --binary $${CARGO_TARGET_DIR:-target}/release/wire-scim-guard --cases $(CASES) --seed $(SEED)

bench: setup ## what a verdict costs
	@$(CARGO) bench --bench verdict

clean: ## remove what was built
	@$(CARGO) clean
