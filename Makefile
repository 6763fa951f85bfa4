# Two commands do everything on a fresh Debian machine with Python 3.11 or later:
#   make search   installs what is missing and runs the embedded search
#   make test     installs what is missing and runs the tests
# Neither does set-up work again until setup.cfg or constraints.txt change.

PYTHON ?= $(firstword $(foreach p,python3.11 python3,$(shell command -v $(p) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# FFCV compiles against the first four; the venv and the compiler need the rest of a bare machine's gaps.
FFCV_PACKAGES := libopencv-dev libturbojpeg0-dev pkg-config g++
# What the hosts speak that tests/cluster makes, the database of tests/search/test_postgres.py, and the browser of
# tests/tracking/test_ui.py.
HOST_PACKAGES := openssh-server rsync postgresql chromium-driver
SUDO := $(shell [ "$$(id -u)" = 0 ] || { sudo -n true 2>/dev/null && echo sudo -n; })
MAY_INSTALL := $(shell { [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null; } && command -v apt-get)

.PHONY: search test coverage docs fuzz lint setup constraints clean

search: setup
	$(BIN)/narl search search_spaces/digits.yaml --resume

# Files go out in the order of tests/conftest.py: those that take minutes must not begin last.
test: setup $(VENV)/.hosts
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=25

# Lines and branches that tests run, subprocesses of tests and Ray's workers included; the pages are in htmlcov/.
# TESTS=tests/core measures some of them.
coverage: setup $(VENV)/.hosts
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-report=html $(TESTS)

# The site: build/site/index.html. Dead links, missing anchors and pages out of its navigation are errors.
docs: setup
	$(BIN)/python docs/write_site.py

# Damaged and hostile files at every door, twenty thousand of them: a quarter of an hour.
fuzz: setup
	PYTHONPATH=tests $(BIN)/python tests/fuzzing.py --inputs 20000

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "narl needs Python 3.11 or later, and there is no python3"; exit 2; }
	@$(MAKE) --no-print-directory $(BIN)/python
	@$(MAKE) --no-print-directory $(VENV)/.system
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt \
		-e ".[test,docs$$(cat $(VENV)/.system)]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || [ -z "$(MAY_INSTALL)" ] || \
		{ $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq python3-venv; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "narl needs Python 3.11 or later; $(PYTHON) is older. Name another: make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 2; }

# Holds ",ffcv" if FFCV can be built here, nothing if it cannot.
$(VENV)/.system:
	@headers=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")'); \
	ready() { command -v g++ && pkg-config --exists opencv4 libturbojpeg && [ -f "$$headers" ]; } >/dev/null 2>&1; \
	needed="$(FFCV_PACKAGES)"; [ -f "$$headers" ] || needed="$$needed python3-dev"; \
	if ! ready && [ -n "$(MAY_INSTALL)" ]; then \
		echo "installing $$needed"; \
		$(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			$(SUDO) apt-get install -y -qq --no-install-recommends $$needed >/dev/null; \
	fi; \
	if ready; then \
		echo ",ffcv" > $@; \
	else \
		echo "FFCV is left out: it needs the system packages $$needed, and they could not be installed here"; \
		[ -n "$(MAY_INSTALL)" ] || echo "(there are no rights to install them)."; \
		echo "narl will use its tensor loader. To add FFCV: install them, then: rm $@ && touch setup.cfg && make setup"; \
		: > $@; \
	fi

# Not where systemd runs: there the package would start a server that is open to the network.
$(VENV)/.hosts: | $(INSTALLED)
	@ready() { command -v rsync && PATH="$$PATH:/usr/sbin" command -v sshd && command -v chromedriver && ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1; \
	if ! ready && [ -n "$(MAY_INSTALL)" ] && [ ! -d /run/systemd/system ]; then \
		echo "installing $(HOST_PACKAGES)"; \
		$(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			$(SUDO) apt-get install -y -qq --no-install-recommends $(HOST_PACKAGES) >/dev/null || true; \
	fi; \
	ready || echo "the tests on two hosts, on PostgreSQL and in a browser will be skipped where they lack $(HOST_PACKAGES)"; \
	touch $@

# After a change of setup.cfg. torch and torchvision are paired by torchvision's own metadata.
constraints: setup
	echo uv | $(BIN)/uv pip compile --quiet --upgrade --all-extras --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 setup.cfg - -o constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info
