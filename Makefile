# Copyright (c) 2026 dsg.storage contributors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Two commands do everything on a fresh Debian 12 or 13: `make demo` and `make test`.
# What they create stays in .venv* and .cache; `make clean` removes it.

PYTHON ?= python3
WORKERS ?= 3
PYTEST_ARGS ?=
WITHOUT_HOSTS = $(addprefix tests/,browser collection contract crash integration transport unit) -m "not long"
SCENARIO ?= default
COLLECTIONS = $(CURDIR)/.cache/molecule/collections

# Ansible wants a UTF-8 locale; mkfs and losetup live where an ordinary user's PATH does not look.
export LC_ALL := C.UTF-8
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.cache/hypothesis
WITH_VENV = PATH="$(CURDIR)/.venv/bin:$$PATH:/usr/sbin:/sbin"
# Every target says how many seconds a test may take: what hangs fails, and the run has an end.
PYTEST = python -m pytest -n $(WORKERS) --dist loadgroup

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-fast test-long test-zfs molecule bench unit checks venv packages-demo packages-test format build reference clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s :

demo: packages-demo venv ## set up what is needed and run the main job on a real tree
	@$(WITH_VENV) demo/run

test: packages-test venv ## install what the tests need and run them; of those on virtual hosts the main ones, of the crash matrix a seventh
	@$(PYTHON) tests/tools/environments.py report
	@$(WITH_VENV) $(PYTEST) --timeout 2400 --durations 20 --stride 7 -m "not long" $(PYTEST_ARGS)

test-fast: packages-test venv ## the same without virtual hosts
	@$(PYTHON) tests/tools/environments.py report
	@$(WITH_VENV) $(PYTEST) --timeout 2400 $(PYTEST_ARGS) $(WITHOUT_HOSTS)

test-long: packages-test venv ## run the tests that `make test` leaves out, on virtual hosts and off them, takes hours
	@$(WITH_VENV) $(PYTEST) --timeout 5400 -m long $(PYTEST_ARGS)

test-zfs: packages-test venv ## run every test on virtual hosts with real OpenZFS, the crash matrix whole, takes hours
	@$(WITH_VENV) $(PYTEST) --timeout 5400 $(PYTEST_ARGS) tests/testbed tests/zfs tests/molecule

molecule: venv ## run a scenario of Molecule on this checkout: make molecule SCENARIO=zfs
	@rm -rf $(COLLECTIONS)
	@$(WITH_VENV) python -m tests.tools.collection install $(COLLECTIONS)
	@$(WITH_VENV) DSG_COLLECTIONS=$(COLLECTIONS) molecule test --scenario-name $(SCENARIO)

bench: packages-test venv ## measure side by side with rsync, rclone, hashdeep and others
	@$(WITH_VENV) tests/bench/run

unit: venv ## only the unit tests, only on this Python
	@$(WITH_VENV) python -m pytest $(PYTEST_ARGS) tests/unit

checks: packages-test venv ## only lint, sanity, docs, importer and other interpreters
	@$(WITH_VENV) python -m pytest $(PYTEST_ARGS) tests/collection

format: venv ## format the Python sources and mend what lint can mend
	@$(WITH_VENV) ruff check --fix .
	@$(WITH_VENV) ruff format .

build: venv ## build the collection's tarball
	@$(WITH_VENV) python -m tests.tools.collection build .cache/build

reference: venv ## write docs/modules from the documentation in the modules
	@$(WITH_VENV) python -m tests.tools.collection reference docs/modules

venv: packages-demo
	@$(PYTHON) tests/tools/environments.py main

packages-demo:
	@tests/tools/system_packages.sh "$(PYTHON)" demo

packages-test:
	@tests/tools/system_packages.sh "$(PYTHON)" test

clean: ## remove every environment and cache
	rm -rf .venv .venv-* .cache .ansible
