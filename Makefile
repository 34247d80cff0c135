# `make serve` serves, `make test` passes the tests; both set up what they need in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WARN = -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wconversion -Werror -UNDEBUG
SANE = -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
TABLE = crc32 entry events fork log logfile many one pool record replay room shard slab sorted table watch whole
TESTS = record pool log table many journal events failing
THREADS = threads threads_news threads_limit
FUZZ = -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
EACH = xargs -P $$(nproc) -I@ sh -c # on each line it is given, as many at once as there are cores
SOURCES = pyproject.toml $(wildcard csrc/*)

.PHONY: churn drill durable-proof serve test lint types c-test c-coverage c-threads planted weak-hash asan tsan fuzz soak \
	slo-replay http-load http-soak bench bench-short interpreters no-compiler wheel sdist format clean

serve: $(VENV)/http.stamp ## serve on http://127.0.0.1:8080; ARGS="--port 9000" for other options
	@$(BIN)/python -m dumbkv_http $(ARGS)

# The store's tests share the cores; those of servers, which look at the clock, have them to
# themselves.
test: $(VENV)/test.stamp ## all tests; ARGS="-k word" for some of them
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	$(BIN)/pytest -n auto --ignore tests/http --ignore tests/slo
	$(BIN)/pytest tests/http
	$(BIN)/pytest tests/slo
endif

lint: $(VENV)/dev.stamp ## ruff and clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m dumbkv_http slo generate --check
	$(BIN)/clang-format --dry-run --Werror csrc/*.[ch]
	$(BIN)/hadolint deploy/Containerfile

types: $(VENV)/dev.stamp ## mypy, strict
	$(BIN)/mypy

c-test: ## the table's own tests in C, under AddressSanitizer and UndefinedBehaviorSanitizer
	@mkdir -p build
	printf '%s\n' $(TABLE) | $(EACH) '$(CC) $(WARN) -O2 -c csrc/@.c -o build/@.o'
	printf '%s\n' $(TESTS) | $(EACH) \
		'$(CC) $(WARN) $(SANE) csrc/test_@.c -o build/test_@ && build/test_@'

c-coverage: $(VENV)/dev.stamp ## which branches of the C its own tests take
	@rm -rf build/coverage && mkdir -p build/coverage
	@cd build/coverage && printf '%s\n' $(TESTS) | $(EACH) 'gcc -std=c11 -D_GNU_SOURCE -UNDEBUG \
		-g -O0 --coverage $(CURDIR)/csrc/test_@.c -o test_@ && ./test_@'
	@$(BIN)/gcovr --root . --object-directory build/coverage --filter csrc/ \
		--exclude 'csrc/test_.*' --txt-metric branch --txt build/coverage/report.txt \
		--fail-under-branch 85 build/coverage || { cat build/coverage/report.txt; exit 1; }
	@cat build/coverage/report.txt

ROUNDS ?= 20000
c-threads: ## threads on one table from C, under ThreadSanitizer; ROUNDS=2000 for less
	@mkdir -p build
	printf '%s\n' $(TABLE) $(THREADS:%=test_%) | $(EACH) \
		'gcc $(WARN) -g -O1 -fsanitize=thread -c csrc/@.c -o build/tsan_@.o'
	for test in $(THREADS); do \
		gcc -fsanitize=thread build/tsan_test_$$test.o $(TABLE:%=build/tsan_%.o) -pthread \
			-o build/test_$$test && setarch -R build/test_$$test $(ROUNDS) || exit 1; done

EVERY ?= 1
planted: ## bugs planted in the C one by one: each has to turn a test red; EVERY=8 for some of them
	$(PYTHON) csrc/planted.py $(EVERY)

# Left out are tests of so many keys that it would take for ever, and one of how many keys are in
# a shard: sixteen hashes are in two.
weak-hash: ## the C tests and the store's, with a table that has only sixteen hashes
	@mkdir -p build
	printf '%s\n' $(TESTS) | $(EACH) \
		'$(CC) $(WARN) $(SANE) -DDKV_WEAK_HASH csrc/test_@.c -o build/weak_@ && build/weak_@'
	.ci/variant weak-hash -DDKV_WEAK_HASH -UNDEBUG
	cd build/weak-hash && DUMBKV_BACKEND=c venv/bin/python -m pytest -q tests/test_*.py dumbkv \
		-k 'not resident and not equal_hash_tags and not holds_few_keys' $(ARGS)

# Python itself is not instrumented: the sanitizer comes in first, and sees what the module does.
# Left out is what looks at memory or time of which the sanitizer takes most, and what starts
# programs that hang with it: curl and the browser.
asan: ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	.ci/variant asan $(SANE) -fno-wrapv -UNDEBUG
	cd build/asan && DUMBKV_BACKEND=c PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD=$$(gcc -print-file-name=libasan.so) venv/bin/python -m pytest -q \
		--ignore tests/slo --ignore tests/http/test_load.py --ignore tests/http/test_footprint.py \
		-k "not (resident or every_objective or before_any_request or no_cpu_is_burnt or curl or \
			examples_answer or commands_print)" $(ARGS)

tsan: c-threads ## threads on one table, from C and from Python, under ThreadSanitizer
	.ci/variant tsan -fsanitize=thread -g -UNDEBUG
	cd build/tsan && DUMBKV_BACKEND=c \
		TSAN_OPTIONS=halt_on_error=1:die_after_fork=0:suppressions=$(CURDIR)/.ci/tsan.supp \
		LD_PRELOAD=$$(gcc -print-file-name=libtsan.so) setarch -R venv/bin/python -m pytest -q \
		tests/test_threads.py tests/test_expiry.py tests/test_fork.py $(ARGS)

SECONDS ?= 60
fuzz: ## libFuzzer on the table, on decimal integers and on records; SECONDS=600 for longer
	@mkdir -p build/fuzz/table build/fuzz/decimal build/fuzz/record
	for what in decimal record table; do \
		clang $(FUZZ) csrc/fuzz_$$what.c -o build/fuzz_$$what && \
		build/fuzz_$$what -max_total_time=$(SECONDS) -max_len=2000 -print_final_stats=1 \
			-artifact_prefix=build/ build/fuzz/$$what 2>build/fuzz_$$what.log || \
			{ tail -n 40 build/fuzz_$$what.log; exit 1; }; \
		echo "fuzz_$$what: $$(sed -n 's/^Done \(.*\)/\1/p' build/fuzz_$$what.log), nothing found"; \
	done

soak: $(VENV)/test.stamp ## scans beside writers for a minute on each table; SECONDS=600 for longer
	DUMBKV_SOAK_SECONDS=$(SECONDS) $(BIN)/pytest tests/test_scans_together.py -v -s $(ARGS)

durable-proof: $(VENV)/test.stamp ## kill -9, power cuts, every call failing, every byte damaged; an hour
	DUMBKV_KILLS=100 DUMBKV_POWER_CUTS=5000 DUMBKV_ALL_FAULTS=1 DUMBKV_DAMAGE_EVERY=1 $(BIN)/pytest \
		tests/test_killed.py tests/test_power.py tests/test_faults.py tests/test_damaged.py $(ARGS)

churn: $(VENV)/test.stamp ## the memory of a million entries after ten times the data; two minutes
	DUMBKV_CHURN_ENTRIES=1000000 $(BIN)/pytest tests/test_memory.py -k churn -v -s $(ARGS)

slo-replay: $(VENV)/test.stamp ## the rules at every minute of 145 days with known incidents; minutes
	DUMBKV_SLO_REPLAY=1 $(BIN)/pytest tests/slo/test_replay.py $(ARGS)

http-load: $(VENV)/test.stamp ## all objectives under a minute of mixed load, by a real Prometheus
	DUMBKV_LOAD_SECONDS=$(SECONDS) DUMBKV_LOAD_ROUNDS=1 $(BIN)/pytest tests/http/test_load.py -v -s $(ARGS)

drill: $(VENV)/test.stamp ## each fault in a service of its own, and who hears of it; two minutes
	$(BIN)/pytest tests/slo/test_drill.py -q -s $(ARGS)

http-soak: $(VENV)/test.stamp ## 150 slow clients of each kind at once, with the real deadlines
	DUMBKV_SOAK_REAL=1 $(BIN)/pytest tests/http/test_slow_clients.py -v -s $(ARGS)

bench: $(VENV)/bench.stamp ## all benchmarks; rewrites benchmarks/results.json and docs/benchmarks.*
	$(BIN)/python -m benchmarks.peers
	$(BIN)/pytest benchmarks -s --benchmark-columns=median,iqr,rounds --benchmark-sort=name $(ARGS)

# In less time, as CI runs them. Targets on the record are bench's, and so is a store on disk:
# beside others that write files it wants a machine with nothing else to do.
bench-short: $(VENV)/bench.stamp ## benchmarks of what is in memory and of the service, in short
	DUMBKV_BENCH_ROUNDS=9 DUMBKV_BENCH_SECONDS=3 $(BIN)/pytest benchmarks -s \
		--ignore benchmarks/test_durable.py --benchmark-columns=median,iqr,rounds --benchmark-sort=name \
		-k "not the_committed_ratio_meets and not the_committed_ratio_of_threads and not the_committed_pauses" $(ARGS)

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
