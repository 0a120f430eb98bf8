# make study   set up what is missing, run the study, render its report (PARAMS=params/other.yaml for another)
# make test    set up what is missing, check format, lint and types, run pytest and nbval, two at a time
# make fast    the tests of the method alone: losses, samplers, networks, training (a minute)
# make check   format, lint, types and who imports whom, alone
# make study-cluster PROFILE=slurm   the same, a job per network on a cluster (PROFILE=local on one machine); workflow/README.md
# make test-cluster  the workflow on this machine and on a SLURM that it starts (some minutes)
# make lab     open JupyterLab on a start page
# make golden  show that no number changed since `make golden-write`, which goes before a change of structure (ten minutes)
# make campaign  try to break it: a hundred kills, full disks, odd names (half an hour or more; CAMPAIGN_KILLS=10 for fewer)
# make bench   compare with other libraries, side by side (NAMES="losses step" for some; about half an hour for all)

PYTHON ?= python3
VENV ?= .venv
PARAMS ?= params/quick.yaml
PROFILE ?= slurm
CLUSTER ?= .venv-cluster
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: fast golden golden-write study study-cluster cluster-setup test test-here test-beside test-cluster check campaign lab bench references setup

study: $(INSTALLED)
	@$(BIN)/multiseg study "$(PARAMS)"

# The plan lies where the nodes of a cluster can read it. GPUS=1 gives each network a GPU where params say device: auto;
# SNAKEMAKE is for options, such as SNAKEMAKE="--dry-run"; BIN is the folder of another installation of multiseg.
study-cluster: $(INSTALLED) cluster-setup
	@mkdir -p build/plans
	@$(BIN)/multiseg train "$(PARAMS)" --list --json > "build/plans/$$(basename "$(PARAMS)" .yaml).json"
	@$(CLUSTER)/bin/snakemake --snakefile workflow/Snakefile --profile workflow/profiles/$(PROFILE) $(SNAKEMAKE) \
		--config plan="build/plans/$$(basename "$(PARAMS)" .yaml).json" multiseg="$(abspath $(BIN))/multiseg" \
		$(if $(GPUS),gpus=$(GPUS))

cluster-setup: $(CLUSTER)/.installed

# Snakemake and nilearn want different versions of packaging, so each has its environment.
$(CLUSTER)/.installed: requirements-cluster.lock
	@echo "installing into $(CLUSTER)"
	@$(PYTHON) -m venv $(CLUSTER)
	@$(CLUSTER)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-cluster.lock
	@touch $@

# Half of the tests run beside the notebooks and the others, and say what they found when they are done.
BESIDE := tests/study tests/results tests/base

test: check
	@$(MAKE) --no-print-directory -j2 test-here test-beside

test-here: $(INSTALLED)
	$(BIN)/python -m pytest -p no:nbval $(BESIDE:%=--ignore=%)

test-beside: $(INSTALLED)
	@mkdir -p build
	@exec 3>&1 > build/test-beside.log 2>&1; \
	$(BIN)/python -m tests.notebooks.finished \
	&& $(BIN)/python -m pytest -p no:cacheprovider --nbval --nbval-current-env --nbval-cell-timeout 300 --nbval-sanitize-with tests/notebooks/sanitize.cfg tests/notebooks; code=$$?; \
	$(BIN)/python -m pytest -p no:nbval -p no:cacheprovider $(BESIDE) && both=$$code || both=1; \
	{ echo; cat build/test-beside.log; } >&3; exit $$both

check: $(INSTALLED)
	@mkdir -p build
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > build/imports.log || { cat build/imports.log; exit 1; }

fast: $(INSTALLED)
	$(BIN)/python -m pytest -p no:nbval tests/core

campaign: $(INSTALLED)
	$(BIN)/python -m pytest -p no:nbval -m campaign -s tests/campaign

GOLDEN := params/smoke.yaml params/golden.yaml golden_table.yaml

golden golden-write: $(INSTALLED)
	$(BIN)/python -m tools.golden $(if $(filter golden,$@),check,write) build/golden.json $(GOLDEN)
	$(BIN)/python -m tools.golden $(if $(filter golden,$@),check,write) --pages build/golden_pages.json params/smoke.yaml params/companions_smoke.yaml

test-cluster: $(INSTALLED) cluster-setup
	$(BIN)/python -m pytest -p no:nbval -m cluster -s tests/cluster

lab: $(INSTALLED)
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@echo '{"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}}, "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' \
		> $(VENV)/share/jupyter/lab/settings/overrides.json
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/START.md

bench: $(INSTALLED) $(VENV)/.bench
	$(BIN)/python -m benchmarks $(NAMES)

# The benchmarks name what is missing and go on, so a peer that cannot be installed is no error.
$(VENV)/.bench: requirements-bench.lock $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-bench.lock \
		&& touch $@ || echo "some of the libraries to compare with could not be installed"

# the executed notebooks that nbval compares with, and the schema; look at the differences before you commit them
references: $(INSTALLED)
	$(BIN)/python -m multiseg.settings.params_files > params/schema.json
	$(BIN)/python -m tools.reference docs/reference
	$(BIN)/python -m tests.notebooks.make_references

setup: $(INSTALLED)

# The stamp is written last, so an interrupted installation is taken up again.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("multiseg needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "installing into $(VENV) (some minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
