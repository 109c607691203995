# Each target installs what it needs; `make` lists the targets.

CARGO ?= cargo
CASES ?= 1000000
SEED ?= 1

TARGET ?= user
CHECKS ?= licenses bans sources
SECONDS ?= 60
MINUTES ?= 30
PGO ?= on

.PHONY: $(shell sed -n 's/^\([a-z][a-z0-9-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

setup:
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh test

demo: setup ## run the guard in front of an embedded stand-in for Wire
	@$(CARGO) run --quiet --bin wire-scim-guard -- demo

build: setup ## a debug build
	@$(CARGO) build

dist: setup ## the build that ships; PGO=off: without a profile of the training run
	@CARGO='$(CARGO)' PGO='$(PGO)' scripts/dist.sh

package: dist ## make the .deb and the .rpm, in dist/; MAINTAINER='Name <address>'
	@scripts/setup.sh package
	@scripts/package.sh $${CARGO_TARGET_DIR:-target}/dist/wire-scim-guard dist

image: setup ## make the image, as an archive in dist/; IMAGE=registry.example.com/wire-scim-guard
	@scripts/setup.sh image
	@LINK=static CARGO='$(CARGO)' PGO='$(PGO)' scripts/dist.sh
	@IMAGE='$(IMAGE)' scripts/image.sh $${CARGO_TARGET_DIR:-target}/dist-static/wire-scim-guard dist

release: setup ## VERSION=1.2.3 MAINTAINER='Name <address>' IMAGE=...: make all files of a release, in dist/, twice, and compare them
	@CARGO='$(CARGO)' IMAGE='$(IMAGE)' scripts/release.sh '$(VERSION)'

test: setup-test ## run the checks of every change
	@scripts/test.sh

test-all: ## run `make test`, every `make test-...` and `make book`, as CI does
	@scripts/test-all.sh

book: ## build the book of docs/ into target/book, and check its links
	@scripts/setup.sh book
	@python3 scripts/book.py

test-prometheus: build ## evaluate the dashboard and the alerts with a real Prometheus
	@scripts/setup.sh prometheus
	@target/venv-prometheus/bin/python tests/prometheus/run.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard

test-browser: build ## look at the admin listener's page with a real browser
	@scripts/setup.sh browser
	@python3 tests/browser/run.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard --out target/page

test-traces: build ## send traces to a real collector
	@scripts/setup.sh traces
	@target/venv-traces/bin/python tests/traces/run.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard

test-redis: build ## share budgets between two guards with a real Redis, Sentinel and Valkey, under each fault
	@scripts/setup.sh redis
	@target/venv-redis/bin/python tests/redis/run.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard

test-ldap: build ## test preflight against Samba as an Active Directory domain controller
	@scripts/setup.sh ldap
	@python3 tests/preflight/samba.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard

test-tls: build ## scan a TLS listener with sslscan and testssl
	@scripts/setup.sh tls
	@python3 tests/tls/scan.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard

test-helm: build ## render, check and try the Helm chart, and its placements with a real nginx
	@scripts/setup.sh helm
	@target/helm/venv/bin/python tests/helm/run.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard
	@target/helm/venv/bin/python tests/helm/placements.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard

test-image: setup ## build the image, run it in podman, and look at all files of a release
	@scripts/setup.sh image package sbom
	@LINK=static BUILD=debug CARGO='$(CARGO)' scripts/dist.sh
	@python3 tests/image/run.py --binary $${CARGO_TARGET_DIR:-target}/debug-static/wire-scim-guard

test-systemd: build ## install, upgrade and remove the packages on a machine with systemd, in podman
	@scripts/setup.sh systemd
	@python3 tests/systemd/run.py --binary $${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard

differential: setup ## compare the guard with a slow reference, CASES=1000000 SEED=1
	@$(CARGO) build --release --bin wire-scim-guard
	@python3 tests/differential/run.py --binary $${CARGO_TARGET_DIR:-target}/release/wire-scim-guard --cases $(CASES) --seed $(SEED)

pgo: setup ## train the profile that `make dist` uses
	@scripts/setup.sh pgo
	@CARGO='$(CARGO)' scripts/pgo.sh

bench: setup ## measure the cost of a verdict, by kind and size
	@$(CARGO) bench --bench verdict

bench-e2e: setup dist ## measure a request end to end, and the same with nginx, nginx with Lua, haproxy and plain Pingora
	@scripts/setup.sh bench
	@$(CARGO) build --release --example bare_proxy
	@CARGO='$(CARGO)' PGO='$(PGO)' scripts/dist.sh bare_proxy
	@python3 benches/e2e/run.py --out docs
	@python3 benches/e2e/tls.py
	@python3 benches/e2e/reload.py

bench-preflight: setup ## measure preflight with a hundred thousand people
	@$(CARGO) build --release --bin wire-scim-guard
	@python3 benches/preflight/run.py --binary $${CARGO_TARGET_DIR:-target}/release/wire-scim-guard

bench-shared: setup dist ## measure the latency of requests whose rate is kept in Redis
	@scripts/setup.sh bench
	@scripts/setup.sh redis
	@python3 benches/shared/run.py

bench-check: setup ## compare the instruction counts of a verdict and of a request with the baseline
	@scripts/setup.sh bench
	@$(CARGO) build --release --bin wire-scim-guard --example verdicts
	@python3 benches/instructions/run.py

fuzz: setup ## TARGET=user SECONDS=60: mutate the corpus and check the invariants
	@scripts/setup.sh fuzz
	@python3 fuzz/seeds.py
	@$(CARGO) fuzz run --sanitizer none $(TARGET) -- -dict=fuzz/dictionary -max_total_time=$(SECONDS) -max_len=4096

soak: setup ## MINUTES=30 of mixed load; fails if memory grows or an answer is unexpected
	@$(CARGO) build --release --bin wire-scim-guard
	@python3 tests/soak/run.py --binary $${CARGO_TARGET_DIR:-target}/release/wire-scim-guard --minutes $(MINUTES)

deny: setup ## CHECKS="licenses bans sources": check all dependencies
	@scripts/setup.sh deny
	@$(CARGO) deny check $(CHECKS)

sbom: setup ## write the bill of materials, as CycloneDX
	@scripts/setup.sh sbom
	@$(CARGO) cyclonedx --format json --target all

clean: ## remove build results
	@$(CARGO) clean
