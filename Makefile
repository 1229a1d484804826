# make test, lint, types, native-test: what .ci/run runs. make run: the first example.
# make bench: microbenchmarks, and the comparison with other stores on tmpfs and on a disk; minutes.
# make bench-full: with 10 million items; hours.  make counts: take the committed counts anew.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CMAKE = $(or $(shell command -v cmake),$(BIN)/cmake)

# Everything that an installed package is made of; a change of any reinstalls it.
PACKAGE := pyproject.toml CMakeLists.txt LICENSE $(shell find pmemstore -type f \
	-not -path '*/__pycache__/*' -not -name '*.pyc' -not -name '.*') \
	$(shell find pmemstore -type d -not -name __pycache__)
C_FILES := $(shell find pmemstore/_native tests/native tests/fuzz tests/mutants tests/daxvm benchmarks \
	-name '*.[ch]')

# Prints the requirements of an extra, without what they are extras of.
extra = $(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*project["optional-dependencies"]["$(1)"], sep="\n")'

.PHONY: run bench bench-full bench-check counts counts-check test test-all daxvm daxvm-slice lint format types native-test native-asan native-plain native-door fuzz mutants mutants-slice clean
.DELETE_ON_ERROR:

run: $(VENV)/.stamp-run
	$(BIN)/python examples/01_wordindex.py

# BENCH_DIRS: a directory on each medium.  The figures are kept in benchmarks/results/, the tables
# and plots go to docs/.
BENCH_DIRS ?= /dev/shm .
bench bench-full: $(VENV)/.stamp-test $(VENV)/.stamp-bench
	$(BIN)/pytest benchmarks/test_micro.py --benchmark-sort=name --benchmark-columns=median,iqr,rounds
	$(BIN)/python benchmarks/run.py --size $(if $(filter %-full,$@),full,quick) \
		$(foreach dir,$(BENCH_DIRS),--dir $(dir)) --json benchmarks/results/$@.json --docs docs

# Fences, lines, bytes, calls and instructions against benchmarks/counts.json; counts takes it anew,
# when a change is meant to cost more or less.  Needs valgrind for instructions, and says so.
counts counts-check: $(VENV)/.stamp-test
	$(BIN)/python benchmarks/counts.py $(if $(filter counts,$@),--take)

# All contenders, in a tiny slice: that each stores and gives back the same contents.
bench-check: $(VENV)/.stamp-test $(VENV)/.stamp-bench
	$(BIN)/pytest -m "" tests/test_benchmarks.py

# The pytest program, not "python -m pytest": that would import the source tree in place of the
# installed package, and the source tree has no compiled core.
test: $(VENV)/.stamp-test
	$(BIN)/pytest

test-all: $(VENV)/.stamp-test
	$(BIN)/pytest -m "not daxvm"

# Guests with real DAX, two at a time, also killed, and crash states of a disk: about 10 minutes; the
# slice less than 3.  Needs QEMU and says what to install; the other targets do not need it.
daxvm daxvm-slice: $(VENV)/.stamp-test
	$(BIN)/python tests/daxvm/guest.py
	$(if $(filter %-slice,$@),PMEMSTORE_DAXVM_SLICE=1) $(BIN)/pytest -m daxvm -n 2 --dist loadfile -rP --durations=5 tests/daxvm

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

format: $(VENV)/.stamp-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

types: $(VENV)/.stamp-dev
	$(BIN)/mypy pmemstore tests/typing/test_record_types.py

# The core alone: with AddressSanitizer and UBSan, as it is shipped, and with pools mapped
# read-only outside the one door (a store that goes around it is a SIGSEGV).
native-test: native-asan native-plain native-door

native-asan: NATIVE := -DPMEMSTORE_SANITIZE=ON
native-plain: NATIVE := -DPMEMSTORE_SANITIZE=OFF
native-door: NATIVE := -DPMEMSTORE_DEBUG_DOOR=ON
native-asan native-plain native-door: native-%: $(VENV)/.stamp-cmake
	$(CMAKE) -S . -B build/native-$* -G "Unix Makefiles" -DPMEMSTORE_NATIVE_TESTS=ON \
		-DPMEMSTORE_WERROR=ON $(NATIVE)
	$(CMAKE) --build build/native-$* --parallel 2
	$(dir $(CMAKE))ctest --test-dir build/native-$* --parallel 2 --output-on-failure

# The core broken in one place at a time, which the explorer has to find: all of them take about an
# hour, the slice less than a minute.  ONLY='recover:* one-anchor' makes a choice.
mutants mutants-slice: $(VENV)/.stamp-cmake
	$(BIN)/python tests/mutants/run.py --cmake $(CMAKE) $(if $(filter %-slice,$@),--quick) \
		$(foreach name,$(ONLY),--only '$(name)')

# Forged pools, made by libFuzzer under ASan and UBSan; the corpus grows from run to run.
# A finding is run again by:  build/fuzz/tests/fuzz/fuzz_pool build/fuzz/found/crash-...
SECONDS ?= 60
CLANG ?= $(or $(shell for c in clang clang-19 clang-16 clang-14; do command -v $$c && break; done),clang)
fuzz: $(VENV)/.stamp-cmake
	$(CMAKE) -S . -B build/fuzz -G "Unix Makefiles" -DCMAKE_C_COMPILER=$(CLANG) -DPMEMSTORE_FUZZ=ON
	$(CMAKE) --build build/fuzz --parallel 2
	mkdir -p build/fuzz/corpus build/fuzz/found
	cd build/fuzz && tests/fuzz/fuzz_pool -max_total_time=$(SECONDS) -max_len=1024 -timeout=20 \
		-rss_limit_mb=1024 -artifact_prefix=found/ -print_final_stats=1 corpus ../../tests/fuzz/inputs

clean:
	rm -rf build $(VENV) .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-run: $(BIN)/python $(PACKAGE)
	$(PIP) install '.[examples]'
	@touch $@

$(VENV)/.stamp-test: $(BIN)/python $(PACKAGE)
	$(PIP) install '.[test]'
	@touch $@

# The contenders too; one that cannot be installed is reported as missing, by run.py.
$(VENV)/.stamp-bench: pyproject.toml | $(VENV)/.stamp-test
	for peer in $$($(call extra,bench)); do $(PIP) install "$$peer" || echo "missing: $$peer"; done
	@touch $@

$(VENV)/.stamp-cmake: | $(BIN)/python
	command -v cmake >/dev/null || $(PIP) install cmake
	@touch $@

# The tools alone: linting needs no compiled core.
$(VENV)/.stamp-dev: pyproject.toml | $(BIN)/python
	$(call extra,dev) > $(VENV)/dev-requirements.txt
	$(PIP) install -r $(VENV)/dev-requirements.txt
	@touch $@
