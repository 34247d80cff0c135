# `make serve` serves, `make test` passes the tests; both set up what they need in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WARN = -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wconversion -Werror -UNDEBUG
SOURCES = pyproject.toml $(wildcard csrc/*)

.PHONY: serve test lint types c-test bench bench-short interpreters no-compiler wheel sdist format clean

serve: $(VENV)/http.stamp ## serve on http://127.0.0.1:8080; ARGS="--port 9000" for other options
	@$(BIN)/python -m dumbkv_http $(ARGS)

test: $(VENV)/test.stamp ## all tests
	$(BIN)/pytest $(ARGS)

lint: $(VENV)/dev.stamp ## ruff and clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror csrc/*.[ch]

types: $(VENV)/dev.stamp ## mypy, strict
	$(BIN)/mypy

c-test: ## the table's own tests in C, under AddressSanitizer and UndefinedBehaviorSanitizer
	@mkdir -p build
	for file in fork shard slab table whole; do $(CC) $(WARN) -O2 -c csrc/$$file.c -o build/$$file.o || exit 1; done
	$(CC) $(WARN) -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
		-fno-omit-frame-pointer csrc/test_table.c -o build/test_table
	build/test_table

bench: $(VENV)/bench.stamp ## all benchmarks
	$(BIN)/pytest benchmarks -s --benchmark-columns=median,iqr,rounds --benchmark-sort=name $(ARGS)

bench-short: $(VENV)/bench.stamp ## the same in less time, as CI runs them
	DUMBKV_BENCH_ROUNDS=5 DUMBKV_BENCH_SECONDS=3 $(BIN)/pytest benchmarks -s \
		--benchmark-columns=median,iqr,rounds --benchmark-sort=name $(ARGS)

interpreters: ## one wheel, tried under every Python there is from 3.10 on
	.ci/interpreters

no-compiler: ## install and test with no compiler on the PATH
	.ci/no-compiler

wheel: $(VENV)/dev.stamp
	$(BIN)/python -m build --wheel

sdist: $(VENV)/dev.stamp
	$(BIN)/python -m build --sdist

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i csrc/*.[ch]

clean:
	rm -rf $(VENV) build dist *.egg-info dumbkv/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis

# An environment with the extra that a target needs; made again when the C or the
# dependencies change.
$(VENV)/%.stamp: $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "make: $(PYTHON) -m venv failed: install Python 3.10 or later with venv," \
			"or name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
