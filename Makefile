# `make reproduce` and `make test` need Python 3.11 to 3.13 with venv and pip; everything else they install in .venv.
PYTHON ?= python3
DATASET ?= faces
PRETRAINED ?=
# The pretrained worlds are those of the preset deep; quick trains everything, shorter.
PRESET ?= $(if $(PRETRAINED),deep,quick)

BIN := .venv/bin

.PHONY: reproduce test test-browser test-standin lab clean

reproduce: .venv/ready
	$(BIN)/python -m ralkit reproduce --preset $(PRESET) --dataset $(DATASET) $(if $(PRETRAINED),--pretrained)

test: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadscope
	$(BIN)/python -m ralkit reproduce --preset smoke --force

# Needs Chromium and its driver (Debian: apt-get install chromium chromium-driver); leaves screenshots in runs/browser/.
test-browser: .venv/ready
	mkdir -p runs
	$(BIN)/pytest -m browser --basetemp=runs/browser

# Every notebook at its smallest on a stand-in for a CUDA GPU, which finds what a GPU would refuse (tests/standin.py).
test-standin: .venv/ready
	PYTHONPATH=tests/site $(BIN)/python -c "import torch; print('notebooks run on', torch.cuda.get_device_name())"
	PYTHONPATH=tests/site $(BIN)/python -m ralkit reproduce --preset smoke --force

# Lab's folder is that of the notebook, where the jupytext.toml lies that pairs them with py/.
lab: .venv/ready
	$(BIN)/jupyter lab notebooks/00_tour.ipynb

# The pip block of environment.yml is the last in it: what sed prints is a list for pip.
.venv/ready: environment.yml pyproject.toml
	$(PYTHON) -m venv .venv
	sed -n '/^  - pip:/,$$ s/^      - //p' environment.yml > .venv/requirements.txt
	$(BIN)/pip install --disable-pip-version-check --progress-bar off -q -r .venv/requirements.txt
	touch $@

clean:
	rm -rf .venv runs
