# make demo | test | check | bench | format | clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS_RUN := cpu
EXTRAS_DEV := cpu,openvino,ultralytics,postgresql,milvus-lite,oidc,dev
# What the tests use beside Python packages: a browser, a real RTSP server, promtool, ffmpeg, redis-benchmark and a
# PostgreSQL server (none need run: the tests start their own).
DEBIAN := chromium ffmpeg postgresql prometheus redis-server redis-tools gir1.2-gst-rtsp-server-1.0 python3-gi \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
# What a running system saw in its time is compared with the truth: one after the other, beside nothing else.
LIVE := tests/end_to_end/test_demo.py tests/end_to_end/test_site_over_rtsp.py
SIGHTLINE_DATA ?= $(abspath $(wildcard ../shared/data))
# Tests on real footage are skipped where the variable is unset, and an empty one is not unset.
ifneq ($(SIGHTLINE_DATA),)
export SIGHTLINE_DATA
else
unexport SIGHTLINE_DATA
endif
# Tests start many processes, which would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench format clean debian

demo: $(VENV)/.run
	$(BIN)/sightline demo

# Three processes, for tests often wait. Where there are more threads than free cores, torch's wait for one another by
# spinning: on two full cores a step of training took 4.2 s of processor time on two such threads, and 1.8 s on one.
test: $(VENV)/.dev debian
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses 3 \
	  --dist loadfile --no-loadscope-reorder $(LIVE:%=--ignore=%)
	$(BIN)/python -m pytest $(LIVE)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.dependency_audit

bench: $(VENV)/.dev debian
	$(BIN)/python -m tests.bench $(ONLY)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) var build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Sightline needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -y -q python3-venv; \
	       else echo "Python's venv is missing: sudo apt-get install python3-venv"; exit 2; fi; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS_RUN)]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS_DEV)]'
# HOTA. What it asks for itself would put opencv-python over the headless build.
	$(BIN)/python -m pip install --quiet --no-deps 'trackeval>=1.3,<2' pycocotools tabulate
	@touch $@ $(VENV)/.run

debian:
	@missing=$$(for name in $(DEBIAN); do dpkg -s $$name >/dev/null 2>&1 || echo $$name; done); \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing >/dev/null \
	    || { echo "Debian packages could not be installed:" $$missing; exit 2; }; \
	else echo "Tests that need these Debian packages are skipped: sudo apt-get install" $$missing; fi
