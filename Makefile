# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# What a person types. There is no logic here: every target is a script in
# scripts/, and Kbuild says how the modules are made.

# KDIR=DIR     build against the kernel in DIR instead of the running one
# KERNEL=NAME  the test kernel of `make demo` and `make shell`: scripts/kernel.sh list
# V=1          `make demo` shows the kernel's log too
KDIR ?=
KERNEL ?= 7.3
V ?=

modules: ## build the modules for the running kernel, or for KDIR=
	@scripts/build.sh $(KDIR)

demo: ## boot a kernel in QEMU and show shared virtual memory at work
	@scripts/demo.sh $(if $(V),-v) $(KERNEL)

test: ## checks, host tests, KUnit and guest tests on kernel 7.3
	@scripts/test.sh test

test-all: ## the same, and mutants, a million schedules, kernels 6.12 and 6.1, debug kernels, DKMS
	@scripts/test.sh all

host-test: ## only the tests that need no kernel
	@scripts/host-test.sh

mutate: ## plant small faults in the core, and see whether a host test catches each
	@scripts/mutate

check: ## only the checks of the sources
	@scripts/check.sh

bench: ## compare with the kernel's own GPU VA and SVM modules
	@bench/run.sh

bench-full: ## the same at length, with up to a million mappings
	@bench/run.sh full

shell: ## boot a kernel with the modules loaded, and give a prompt in it
	@scripts/shell.sh $(KERNEL)

format: ## lay out the C++ sources
	@scripts/format.sh

install: ## install the modules for the running kernel, or for KDIR=
	@scripts/install.sh $(KDIR)

clean: ## remove everything built from this checkout
	@scripts/clean.sh

help: ## print this
	@sed -n 's/^\([a-z-]*\): ## /\1\t/p' Makefile | expand -t 12

.PHONY: modules demo test test-all host-test mutate check bench bench-full shell format install \
	clean help
