"""The exact command that measures something again, and nothing else."""

from __future__ import annotations

import shlex
from pathlib import Path

from ablations.provenance.folder import displayed, result_name, trial_path
from ablations.provenance.tiers import Tier

_SCRIPTS = {
    "os_tax": "ablation_os_tax.py",
    "session_arena": "ablation_session_arena.py",
    "plan_cache": "ablation_plan_cache.py",
    "semantic_signals": "ablation_semantic_signals.py",
}


def remeasure_command(results_dir: Path, tier: Tier | None, study: str, trials: list[tuple[str, int]]) -> str:
    """Return a command line for the repository's folder that measures trials of one study again and aggregates.

    Args:
        results_dir: the folder that shows the results.
        tier: that they belong to; None where no configuration makes it.
        study: of all the trials.
        trials: variant and number of each; those that the configuration has no longer are left out.
    """
    if tier is None:
        return "not known, because no configuration file makes this tier; pass it as --config"
    if study not in _SCRIPTS or _is_made_by_workflow(results_dir, tier):
        return _workflow_command(tier, study, trials)
    return _script_command(results_dir, tier, study, trials)


def _is_made_by_workflow(results_dir: Path, tier: Tier) -> bool:
    """Tell whether the workflow makes this folder; a reference run is measured again into the tier's own folder."""
    reference = tier.results_dir.parent / "reference"
    if tier.results_dir.name == "results":
        reference = tier.results_dir / "reference"
    resolved = results_dir.resolve()
    return resolved == tier.results_dir or resolved.is_relative_to(reference)


def _workflow_command(tier: Tier, study: str, trials: list[tuple[str, int]]) -> str:
    count = getattr(tier.config.trials, study)
    forced = [
        displayed(trial_path(tier.results_dir, study, variant, trial)) for variant, trial in trials if trial < count
    ]
    target = displayed(tier.results_dir / result_name(study))
    return f"{tier.snakemake(target)} --forcerun {' '.join(forced)}"


def _script_command(results_dir: Path, tier: Tier, study: str, trials: list[tuple[str, int]]) -> str:
    files = [displayed(trial_path(results_dir, study, variant, trial)) for variant, trial in trials]
    config = "".join(f" --config {shlex.quote(displayed(file))}" for file in tier.files)
    script = f"python workflow/scripts/{_SCRIPTS[study]} --output-dir {shlex.quote(displayed(results_dir))}{config}"
    return f"rm -f {' '.join(map(shlex.quote, files))} && {script}"
