# The front door. Everything is done by Meson, Ninja and the scripts in tools/; this file only names it.
# `make` alone lists the targets: each sentence stands behind the target's ##.
SHELL = /bin/bash
.DEFAULT_GOAL := help
ARGS ?=
SECONDS ?= 20
PREFIX ?= /usr/local
DESTDIR ?=
SUITE ?= bookworm
ARCH ?= $(shell uname -m)
UNITS = test-unit test-api test-forwarder test-faults test-tools test-e2e test-load test-browser

.PHONY: help build run test $(UNITS) test-fresh soak lint bench screenshots fuzz lambda test-lambda install clean test-tsan analyze

help: ## Lists these targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Compiles every program into build/, installing the packages that are missing.
	@tools/install-packages build
	@. tools/lib.sh && ready_build build && say "the programs are in build/"

run: ## Installs what is missing, compiles and starts the lab (ARGS="--listen 127.0.0.1:5000" goes to the allocator).
	@tools/run $(ARGS)

test: ## Runs every test: modules and API under sanitizers, scripts, then the whole lab and its pages.
	@tools/test

test-tools: ## Runs the tests of the scripts in tools/.
	@tools/test tools

test-unit: ## Runs the modules' tests under address and undefined-behaviour sanitizers.
	@tools/test unit

test-api: ## Runs the tests of every endpoint against a sanitized allocator (ARGS="-k metrics" goes to pytest).
	@tools/test api -- $(ARGS)

test-forwarder: ## Runs the log forwarder against a stand-in of Lambda's runtime and a real allocator (ARGS goes to pytest).
	@tools/test forwarder -- $(ARGS)

test-faults: ## Crashes at every named point, failing databases, disks and clocks; needs root (ARGS goes to pytest).
	@tools/test faults -- $(ARGS)

test-e2e: ## Runs whole workshops with real sandboxes and killed processes; needs root (ARGS goes to pytest).
	@tools/test e2e -- $(ARGS)

test-load: ## Runs the rush, thousands of waiting VMs and floods of words, for minutes; needs root (ARGS goes to pytest).
	@tools/test load -- $(ARGS)

test-browser: ## Opens the pages in Chromium and Firefox; needs root (ARGS goes to pytest).
	@tools/test browser -- $(ARGS)

test-tsan: ## Runs what has helper threads under the thread sanitizer.
	@tools/test tsan tsan-api

test-fresh: ## Runs the README's commands on a bare Debian or Ubuntu made for it (SUITE=bookworm, trixie or noble); needs root.
	@SUITE=$(SUITE) tools/test-fresh

soak: ## Runs faults over and over (ROUNDS=10) and load in its long versions (LABLINK_SOAK_MINUTES=20); needs root.
	@ROUNDS=$${ROUNDS:-10} LABLINK_SOAK=1 tools/test faults load

lint: ## Checks layout, floors, lengths of functions, shell scripts and clang-tidy's list of mistakes.
	@tools/lint

analyze: ## Has gcc look for mistakes on every path through each function (minutes).
	@tools/lint analyzer

bench: ## Prints requests/s of the hot endpoints beside a bare epoll loop and pgbench.
	@tools/bench

screenshots: ## Takes the README's pictures of this build; needs root.
	@tools/install-packages build run test browser
	@. tools/lib.sh && ready_build build && LABLINK_BUILD="$$PWD/build" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tools/screenshots

fuzz: ## Feeds each parser random input for SECONDS=20 each.
	@tools/fuzz $(SECONDS)

lambda: ## Puts the log forwarder into the zip that AWS Lambda takes: build/lablink-log-forwarder-*.zip (ARCH=x86_64 or arm64).
	@ARCH=$(ARCH) tools/lambda

test-lambda: ## Builds that zip and runs it in a root that has nothing else, of another processor by emulation; needs root.
	@ARCH=$(ARCH) tools/lambda test

install: ## Installs programs, manual and units below PREFIX=/usr/local (DESTDIR= for packagers).
	@tools/install-packages build
	@. tools/lib.sh && ready_build build && meson configure build -Dprefix="$(PREFIX)" && \
		DESTDIR="$(DESTDIR)" meson install -C build --quiet && say "installed below $(DESTDIR)$(PREFIX)"

clean: ## Removes what was built; a lab's state is elsewhere and stays.
	@rm -rf build build-test build-fuzz build-lint build-tsan && echo "--- build directories are gone"
