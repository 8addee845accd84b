# What the rules share: the validated configuration, the tier's folders, and the sources that each result depends on.
import json
from functools import cache
from glob import glob
from pathlib import Path

from ablations.configuration import validate_config
from ablations.errors import SettingsError
from ablations.measurement.sources import module_sources, study_sources
from ablations.provenance.engine import marked_incomplete
from ablations.provenance.makers import rendering_files
from ablations.rendering.names import (
    BESIDE_RESULTS,
    CLAIMS_FIGURE,
    CLAIMS_TABLE,
    FIGURE_GROUPS,
    FIGURE_STUDIES,
    SIMULATED_STUDY,
    SIMULATION_FIGURES,
    SIMULATION_RESULT,
    SIMULATION_SWEEPS,
    SIMULATION_TABLE,
    TABLE_NAMES,
    panel_modules,
)
from ablations.settings import (
    MEASURABLE,
    STUDIES,
    VARIANTS,
    output_dir,
    simulation_settings,
    trial_count,
    trial_settings,
)

try:
    CONFIG = validate_config(config)
except SettingsError as error:
    raise WorkflowError(f"Configuration: {error}")

# Jobs that run in an environment of their own find the package by its path.
shell.prefix("set -euo pipefail; export PYTHONPATH=workflow/src; ")

RESULTS = output_dir("results", CONFIG.tier)
FIGURES = output_dir("figures", CONFIG.tier)
LOGS = output_dir("logs", CONFIG.tier)
# What the paper and the committed reference runs say, for comparison.
REFERENCE_RESULTS = sorted(glob("results/reference/*/ablation_*.json")) + glob("config/claims.yaml")
ABLATIONS = {study: f"{RESULTS}/ablation_{number}.json" for number, study in enumerate(STUDIES, start=1)}


wildcard_constraints:
    study="|".join(MEASURABLE),
    variant="[a-z_]+",
    trial=r"\d+",


def sources_of(*modules):
    """Return the package files that these modules depend on, relative to the repository."""
    return [relative(path) for path in module_sources(*modules)]


# Each trial of a study asks for the same.
@cache
def sources_of_study(study):
    """Return the package files that a study's trials depend on, relative to the repository."""
    return [relative(path) for path in study_sources(study)]


def relative(path):
    """Return a package file's path relative to the repository, where Snakemake runs."""
    return os.path.relpath(path, workflow.basedir)


def template_files(folder):
    """Return the parts of a template that is put together from a folder."""
    return sorted(
        f"workflow/templates/{folder}/{name}" for name in os.listdir(f"workflow/templates/{folder}")
    )


def trials_of(study):
    """Return the trial records that one study aggregates."""
    return [
        f"{RESULTS}/trials/{study}/{variant}/trial_{trial}.json"
        for variant in VARIANTS[study]
        for trial in range(trial_count(CONFIG, study))
    ]


def figure_path(name):
    """Return a figure's path without its suffix."""
    return f"{RESULTS if name in BESIDE_RESULTS else FIGURES}/{name}"
