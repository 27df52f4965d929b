.DEFAULT_GOAL := help
.PHONY: demo test test-slow check docs bench wheel sanitize help

PYTHON ?= python3
BIN := .venv/bin
# An editable installation knows the modules of its day: a folder that gained or lost a file is installed again.
SOURCES := $(shell find src -name '*.cpp' -o -name '*.hpp' -o -type d -not -name __pycache__)
STAMP := .venv/.atrous-installed

help:  ## what each target does
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(STAMP)  ## train, evaluate and predict on synthetic street scenes, and report
	$(BIN)/atrous demo

test: $(STAMP)  ## the tests but the slow ones
	$(BIN)/python -m pytest

test-slow: $(STAMP)  ## every test
	$(BIN)/python -m pytest -m "slow or not slow"

check: $(STAMP)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/.atrous-docs  ## the pages, in docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# What others only import is no benchmark.
PROGRAMS = $(shell grep -l '^if __name__ == "__main__":' benchmarks/*.py)
bench: .venv/.atrous-bench  ## every benchmark
	set -e; for file in $(PROGRAMS); do echo "== $$file"; $(BIN)/python "$$file"; done

# Without `site`, so that the installation for development is not found before the one with sanitizers.
SANITIZED := build/sanitized
MINUTES ?= 5
sanitize: $(STAMP)  ## the core's and the CRF's tests, and five minutes of odd input, under sanitizers
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(SANITIZED) -C cmake.define.ATROUS_SANITIZE=ON .
	set -e; export LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so) $$(c++ -print-file-name=libstdc++.so)"; \
	export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 ATROUS_CORE=compiled PYTHONDONTWRITEBYTECODE=1; \
	export PYTHONPATH=$(SANITIZED):$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])"); \
	$(BIN)/python -S -m pytest tests/core tests/crf; \
	$(BIN)/python -S tests/core/fuzz.py --minutes $(MINUTES)

# The wheel must serve those who have nothing else: it is tried in an empty environment, without extras, where an
# exported network predicts. What is installed there, without pip's own, stays below 400 MiB.
wheel: $(STAMP)  ## source archive and wheel, tried in an empty environment
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(BIN)/python tests/tiny_export.py "$$folder/tiny.onnx" "$$folder/scene.png"; \
	$(PYTHON) -m venv "$$folder/venv"; \
	"$$folder/venv/bin/pip" install --quiet -c constraints.txt dist/*.whl; \
	cd "$$folder"; \
	venv/bin/atrous --help; \
	for room in contract _core data crf evaluation prediction draw; do \
	  venv/bin/python -W error -c "import atrous.$$room"; \
	done; \
	venv/bin/python -c "import importlib.util as u; assert not u.find_spec('torch') and not u.find_spec('scipy')"; \
	venv/bin/atrous predict tiny.onnx scene.png --out out --tta --crf mild --save masks,overlays,statistics; \
	test -s out/masks/scene.png; \
	mkdir -p set/images set/masks; cp scene.png set/images; cp out/masks/scene.png set/masks; \
	venv/bin/atrous evaluate tiny.onnx set --split train --tta; \
	venv/bin/python -m pip uninstall --quiet --yes setuptools pip; \
	size=$$(du -sm venv/lib | cut -f1); echo "$$size MiB installed"; test "$$size" -lt 400

.venv/bin/python:
	$(PYTHON) -m venv .venv

$(STAMP): .venv/bin/python pyproject.toml constraints.txt CMakeLists.txt $(SOURCES)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[train,plots,medical,geo,formats,export,cluster,openvino,dev]"
	@# albumentations asks for an OpenCV of its own, which would overwrite the one with the contributed modules, and
	@# cityscapesScripts, whose numbers ours must equal, for a package that Python has long had.
	$(BIN)/pip install --quiet -c constraints.txt --no-deps albumentations albucore stringzilla simsimd \
	  cityscapesscripts pyquaternion
	touch $@

.venv/.atrous-docs: $(STAMP)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[train,plots,docs]"
	touch $@

.venv/.atrous-bench: $(STAMP)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[train,bench]"
	touch $@
