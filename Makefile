# Every target does its own set-up; `make` alone lists them.

CARGO ?= cargo
CASES ?= 1000000
SEED ?= 1

TARGET ?= user
CHECKS ?= licenses bans sources
SECONDS ?= 60
MINUTES ?= 30
PGO ?= on

.PHONY: help setup setup-test demo build dist test test-ldap differential pgo bench bench-e2e bench-preflight bench-check fuzz soak deny sbom clean

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

dist: setup ## the build that ships; PGO=off: without a profile of the training run
	@CARGO='$(CARGO)' PGO='$(PGO)' scripts/dist.sh

test: setup-test ## everything that CI runs
	@scripts/test.sh

test-ldap: build ## preflight against an Active Directory of Samba's
	@scripts/setup.sh ldap
	@python3 tests/preflight/samba.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard

differential: setup ## the guard against a slow reference, CASES=1000000 SEED=1
	@$(CARGO) build --release --bin wire-scim-guard
	@python3 tests/differential/run.py --binary $${CARGO_TARGET_DIR:-target}/release/wire-scim-guard --cases $(CASES) --seed $(SEED)

pgo: setup ## the training run: a profile of the program under load, for `make dist`
	@scripts/setup.sh pgo
	@CARGO='$(CARGO)' scripts/pgo.sh

bench: setup ## what a verdict costs, by kind and size
	@$(CARGO) bench --bench verdict

bench-e2e: setup dist ## a request end to end, beside nginx, nginx with Lua, haproxy and Pingora alone
	@scripts/setup.sh bench
	@$(CARGO) build --release --example bare_proxy
	@CARGO='$(CARGO)' PGO='$(PGO)' scripts/dist.sh bare_proxy
	@python3 benches/e2e/run.py --out docs

bench-preflight: setup ## what preflight takes for a hundred thousand people
	@$(CARGO) build --release --bin wire-scim-guard
	@python3 benches/preflight/run.py --binary $${CARGO_TARGET_DIR:-target}/release/wire-scim-guard

bench-check: setup ## instructions of a verdict and of a whole request, against the baseline
	@scripts/setup.sh bench
	@$(CARGO) build --release --bin wire-scim-guard --example verdicts
	@python3 benches/instructions/run.py

fuzz: setup ## TARGET=user SECONDS=60: mutate the corpus and hold up the invariants
	@scripts/setup.sh fuzz
	@python3 fuzz/seeds.py
	@$(CARGO) fuzz run --sanitizer none $(TARGET) -- -dict=fuzz/dictionary -max_total_time=$(SECONDS) -max_len=4096

soak: setup ## MINUTES=30 of mixed load; fails on growth and on every unexpected answer
	@$(CARGO) build --release --bin wire-scim-guard
	@python3 tests/soak/run.py --binary $${CARGO_TARGET_DIR:-target}/release/wire-scim-guard --minutes $(MINUTES)

deny: setup ## CHECKS="licenses bans sources": of all dependencies
	@scripts/setup.sh deny
	@$(CARGO) deny check $(CHECKS)

sbom: setup ## the bill of materials, as CycloneDX
	@scripts/setup.sh sbom
	@$(CARGO) cyclonedx --format json --target all

clean: ## remove what was built
	@$(CARGO) clean
