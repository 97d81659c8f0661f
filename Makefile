# make demo         set up .venv, replay the built-in scene or CLIP=path, write to out/demo
# make test         set up .venv with the development tools, then run make check
# make check        run lint, types and tests; print the lines that no test ran
# make test-gpu     run the tests that need an NVIDIA GPU and the extras [gpu] and [rtx]
# make gpu-check    measure on an NVIDIA GPU, write out/gpu/gpu.md; CHECK=--short for less
# make screenshots  make the images of the documentation
# make docs         build the guides and the API reference into out/site
# make wheel        build the wheel into out/dist
# make wheelhouse   collect it and all that it needs in out/wheelhouse; EXTRAS=[dicom] for more
# make test-install install both into empty environments and use them

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIP ?= scene
DEMO := out/demo
EXTRAS ?=
MEASURE := $(BIN)/python -m slipcover
LINES := out/lines
FOLDERS := ablation calibration configs datasets errors evaluation kernels models networks quantum \
  realtime system training

.PHONY: demo screenshots test test-gpu gpu-check check lint format clean

demo: $(VENV)/.base
	mkdir -p $(DEMO)
	$(BIN)/qlumen replay "$(CLIP)" --output $(DEMO)/overlay.mp4 --events $(DEMO)/events.jsonl \
	  --json $(DEMO)/summary.json --snapshots $(DEMO)/frames --set snapshots.every=50
	@echo "wrote $(DEMO)/overlay.mp4, events.jsonl, summary.json and frames/"

# Needs a browser: apt install chromium chromium-driver
screenshots: $(VENV)/.dev
	$(BIN)/python bench/screenshots.py docs

test: $(VENV)/.dev
	$(MAKE) check

test-gpu: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints-gpu.txt -e .[gpu,rtx,onnxruntime]
	$(BIN)/python -m pytest tests/gpu

gpu-check: $(VENV)/.dev
	$(BIN)/python bench/gpu_check.py $(CHECK)

# Tests start qlumen often. Python must not compile it each time.
unexport PYTHONDONTWRITEBYTECODE

# ALONE measures speed and runs alone. TIMED follows the clock and runs without busy tests.
ALONE := tests/realtime/profiling
TIMED := $(addprefix tests/realtime/,live sources/network view) \
  $(addprefix tests/field/test_,live_sources.py page.py)
# Other programs may starve a live part: tests that failed run once more, alone.
AGAIN := $(BIN)/python -m pytest --last-failed --last-failed-no-failures none
# Installs twice, for some minutes, and needs 4 GB of disk meanwhile.
INSTALL := tests/test_install.py
REST := $(addprefix --ignore=,$(ALONE) $(TIMED) $(INSTALL)) tests

check: lint
	mkdir -p $(LINES)
	$(MEASURE) --json --out $(LINES)/alone.json -m pytest $(ALONE) || $(AGAIN) $(ALONE)
	$(MEASURE) --json --out $(LINES)/timed.json -m pytest -n 2 --dist loadfile $(TIMED) \
	  || $(AGAIN) $(TIMED)
	$(MEASURE) --json --out $(LINES)/rest.json -m pytest -n 2 --dist loadfile $(REST) \
	  || $(AGAIN) $(REST)
	$(MEASURE) --merge $(addprefix $(LINES)/,alone.json timed.json rest.json) \
	  --out $(LINES)/all.json

lint: links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.links $(BIN)/lint-imports

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: setup.py pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev $(VENV)/.docs: $(VENV)/.%: setup.py pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .[$*]
	touch $@ $(VENV)/.base

# Type checkers do not resolve the packages that setup.py maps. They need these links.
.PHONY: links
links:
	rm -rf .links/qlumen
	mkdir -p .links/qlumen
	for folder in $(FOLDERS); do ln -s ../../$$folder .links/qlumen/$$folder; done
	cd .links/qlumen && ln -s ../../api/*.py .

# setuptools leaves build/ behind, and a file that is gone from here would stay in the next wheel.
.PHONY: wheel wheelhouse test-install docs
wheel: | $(VENV)/bin/python
	rm -rf build out/dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir out/dist .
	rm -rf build qlumen.egg-info

wheelhouse: wheel
	rm -rf out/wheelhouse
	$(BIN)/python -m pip wheel --quiet -c constraints.txt --wheel-dir out/wheelhouse \
	  "$$(echo out/dist/*.whl)$(EXTRAS)"

test-install: $(VENV)/.dev
	$(BIN)/python -m pytest $(INSTALL)

# Material's warning is about MkDocs 2; setup.py asks for less than that.
docs: $(VENV)/.docs links
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "wrote out/site/index.html"

clean:
	rm -rf build out .links .mypy_cache .pytest_cache .ruff_cache *.egg-info
