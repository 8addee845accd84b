# The two commands, and what their users may want beside them; .venv is built when it is missing or its pins changed.
PYTHON ?= python3
ACTIVATE := . .venv/bin/activate

.PHONY: reproduce smoke report test soak lint clean

reproduce: .venv/workflow  ## measure and render everything (about eleven minutes on two cores)
	$(ACTIVATE) && snakemake --cores 1 all --rerun-incomplete

smoke: .venv/workflow  ## the same in about three minutes, with too few trials to conclude from
	$(ACTIVATE) && snakemake --cores 1 all --configfile config/smoke.yaml --rerun-incomplete

report: .venv/workflow  ## report.html, and figures/ablation_report.pdf, which needs pdflatex
	$(ACTIVATE) && snakemake --cores 1 all && snakemake --report report.html && snakemake --cores 1 report_pdf

test: .venv/test  ## the whole test suite
	$(ACTIVATE) && python -m pytest

soak: .venv/test  ## the long form of the tests of faults (up to 45 minutes); tests/faults/README.md has its last result
	-$(ACTIVATE) && pip install --quiet -r envs/requirements-fuzz.txt
	$(ACTIVATE) && python -m pytest tests/faults --soak --durations=0

lint: .venv/test  ## formatting, style, types and the workflow's own linter
	$(ACTIVATE) && ruff check . && ruff format --check . && mypy && snakefmt --check Snakefile workflow/rules && snakemake --lint

.venv/workflow: envs/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(ACTIVATE) && pip install --quiet -r envs/requirements.txt && pip install --quiet --no-deps --editable .
	touch $@

.venv/test: .venv/workflow envs/requirements-test.txt
	$(ACTIVATE) && pip install --quiet -r envs/requirements-test.txt
	touch $@

clean:  ## remove the environment; results stay
	rm -rf .venv
