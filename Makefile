# make train: set up, then train on the small built-in sample.   make test: set up, then test.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell $(name) --version >/dev/null 2>&1 && echo $(name))))
BIN := .venv/bin
READY := .venv/ready
ENGINES := tests/gpu_clients/fetch_engines.sh .gpu-engines $(BIN)/python
# Two processes: most tests keep one core busy.
TESTS := $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help setup cluster train test test-all test-gpu gpu-engines browser-engines lint web

help:            ## This list.
	@sed -n 's/^\([a-z-]*\):[^#]*## /make \1  /p' $(MAKEFILE_LIST) | awk '{printf "%s %-16s %s\n", $$1, $$2, substr($$0, index($$0, $$3))}'

setup: $(READY)  ## Make .venv and install requirements.txt (done by the others when needed).

cluster: $(READY)  ## Also install requirements-cluster.txt: JAX and Ray; see docs/scale.md.
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-cluster.txt \
		|| $(BIN)/python -m pip install --quiet -r requirements-cluster.txt

train: $(READY)  ## Train MattingNet on the built-in sample: five to ten minutes on two cores.
	$(BIN)/python main.py --model=mattingnet --train=True

test: $(READY)   ## The tests, without the long ones.
	$(TESTS)

test-all: $(READY)  ## All tests, with those that take minutes.
	$(TESTS) -m "slow or not slow"

test-gpu: $(READY) gpu-engines browser-engines  ## All shipped files in the GPU engines of phones and browsers.
	$(TESTS) -m gpu_clients tests/gpu_clients

gpu-engines: $(READY)  ## Fetch software GPUs for the tests and `main.py --gpu_check=True`: .gpu-engines.
	@$(ENGINES) vulkan swiftshader mediapipe

browser-engines: $(READY)  ## Fetch the packages that run files in browsers, for the long tests.
	@$(ENGINES) browser

lint: $(READY)   ## Style and common mistakes.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

web: $(READY)    ## The page for the browser, in dist/ (needs npm); see docs/web.md.
	npm ci --prefix web --ignore-scripts --no-audit --no-fund --silent
	$(BIN)/python -m web.build dist $(MODELS)

# uv installs in seconds what pip takes minutes for; where it cannot be had, pip does it.
# opencv-python needs the system's libGL, which a server may lack: its headless twin does not.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo "error: Python 3.11 or 3.12 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "error: no venv module: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet uv \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt \
		|| $(BIN)/python -m pip install --quiet -r requirements.txt
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
		version=$$(sed -n 's/^opencv-python==//p' requirements.txt); \
		echo "no libGL here: using opencv-python-headless"; \
		$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless==$$version; }
	@touch $@
