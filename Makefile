# slimgen: `make demo` on a fresh clone does everything. All paths are relative: a space in the
# checkout's path does no harm.

PYTHON ?= python3
BIN = .venv/bin
READY = .venv/ready
RUN = $(BIN)/python -m slimgen run all --profile profiles/local

# make demo SEEDS=3 CONFIG=config/another.yaml
# make hands on what its command line sets; the shell reads "$$CONFIG", so quotes in it are no words.
OPTIONS = $(if $(CONFIG),--configfile "$$CONFIG") $(if $(SEEDS),--config seeds="$$SEEDS")

.PHONY: help demo published track verify test lint format bench status schema clean-state
.DEFAULT_GOAL := help

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

demo: $(READY)  ## environment, workflow on real data with all cores, tables, figures, report
	@$(RUN) $(OPTIONS)

PUBLISHED = --configfile $(if $(CONFIG),"$$CONFIG",config/published.yaml)

published: $(READY)  ## tables and figures of the published run anew, from what is in git
	@$(BIN)/python -m slimgen published $(PUBLISHED)

track: $(READY)  ## store a finished run: weights to DVC, the rest to git (CONFIG=another.yaml)
	@$(BIN)/python -m slimgen track $(PUBLISHED)

verify: $(READY)  ## are the files of tracked runs those that were tracked?
	@$(BIN)/python -m slimgen verify $(if $(NAME),--run "$$NAME")

test: $(READY)  ## unit tests, workflow tests, one small run of the real Snakefile
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadgroup $(ARGS)

lint: $(READY)  ## ruff, snakefmt, mypy, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint --configfile tests/workflow/smoke.yaml

format: $(READY)  ## let the formatters write
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

bench: $(READY)  ## what the workflow itself costs
	@$(BIN)/python benchmarks/workflow_overhead.py

status: $(READY)  ## how far the run is: jobs, steps, rate, time left
	@$(BIN)/python -m slimgen status $(if $(NAME),--run "$$NAME")

schema: $(READY)  ## write config/schema.json anew
	@$(BIN)/python -m slimgen schema

clean-state:  ## delete resumable state and logs; results stay
	rm -rf runs logs

# The environment: the interpreter's own venv, uv from pip, exactly the locked packages.
$(READY): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else "slimgen needs Python 3.11 to 3.13; this is %d.%d: make demo PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=.venv $(BIN)/python -m uv pip sync --quiet --compile-bytecode envs/requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/python -m uv pip install --quiet --no-deps --editable .
	@touch $(READY)
