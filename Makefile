# Everything from a fresh checkout. Needs make and Python >= 3.11; the rest goes into .venv.
# Another Python: make PYTHON=python3.12 test

SUITABLE = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
            $(shell $(name) -c '$(SUITABLE)' 2>/dev/null && echo $(name))) python3)
BIN := .venv/bin
READY := .venv/.installed

.PHONY: help install demo smoke test test-all check kill fuzz mutants interop docs bench build clean

help:
	@echo 'make demo    CAM baseline against SEAM on a small data set, into runs/demo'
	@echo 'make smoke   a minute of tests: is anything basic broken?'
	@echo 'make test    all tests but the slowest'
	@echo 'make test-all  all tests'
	@echo 'make check   ruff, mypy and the import rules'
	@echo 'make kill    kill commands N=30 times, resume them, compare bit for bit'
	@echo 'make fuzz    read N=10000 damaged files, look for tracebacks, crashes and memory'
	@echo 'make mutants  plant faults, one at a time, that the tests must notice (N=20: so many)'
	@echo 'make interop  read exports with other tools, in an environment of their own (.interop)'
	@echo 'make docs    the documentation as HTML, into build/docs'
	@echo 'make bench   timings, into bench.json'
	@echo 'make build   wheel and sdist, into dist'
	@echo 'make clean   delete what build, docs, test and check left; keeps .venv and runs'

install: $(READY)

# torch, torchvision and timm in one command with the package: pip must choose versions that fit
# each other. A .venv that somebody else filled is completed, not replaced.
$(READY): pyproject.toml
	@$(PYTHON) -c '$(SUITABLE)' || \
		{ echo 'tag2mask needs Python >= 3.11: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo 'Installing into .venv; PyTorch is large, so this takes some minutes the first time.'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		torch torchvision timm --editable '.[dev,lite2]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[compare]' || \
		echo 'pydensecrf2 cannot be built: tests that compare with it will be skipped.'
	@touch $@

demo: $(READY)
	$(BIN)/tag2mask demo --out runs/demo
	@echo
	@echo 'photos and tags:  runs/demo/data'
	@echo 'SEAM:             runs/demo'
	@echo 'CAM baseline:     runs/demo/cam-baseline'
	@echo 'masks:            runs/demo/pseudo-masks/masks'
	@echo 'report:           runs/demo/report/index.html'

# One worker per core; a worker that runs out of tests takes some of another's.
MARKS ?= not slow

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal -m '$(MARKS)'

smoke: MARKS = smoke
smoke: test

test-all: MARKS =
test-all: test

check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

kill: N ?= 30
kill: $(READY)
	PYTHONPATH=tests $(BIN)/python tests/campaigns/kill.py --kills $(N)

fuzz: N ?= 10000
fuzz: SEED ?= 0
fuzz: $(READY)
	PYTHONPATH=tests:tests/data:tests/nn:tests/steps $(BIN)/python tests/campaigns/fuzz.py \
		--inputs $(N) --seed $(SEED)

mutants: N ?= 0
mutants: $(READY)
	PYTHONPATH=tests $(BIN)/python tests/campaigns/mutants.py --number $(N)

interop: $(READY)
	@[ -x .interop/bin/python ] || $(PYTHON) -m venv .interop
	.interop/bin/python -m pip install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
	@.interop/bin/python -m pip install --quiet --disable-pip-version-check fiftyone || \
		echo 'FiftyOne cannot be installed: its export is not read.'
	rm -rf build/interop && mkdir -p build/interop
	$(BIN)/python tests/interop/write_exports.py build/interop
	LOGURU_LEVEL=WARNING .interop/bin/python tests/interop/read_exports.py build/interop

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo 'documentation:    build/docs/index.html'

bench: $(READY)
	$(BIN)/python -m benchmarks

build: $(READY)
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf dist build bench.json .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
