"""Why a measurement would come out otherwise today: its settings, its code or its machine are not those of now."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ablations.measurement.machine import IDENTITY, machine_facts
from ablations.measurement.sources import sources_hash, study_sources
from ablations.provenance.folder import TrialHead, displayed, flatten
from ablations.provenance.tiers import Tier
from ablations.settings import repository_root, settings_hash, trial_settings

# Known only to a process that has loaded torch, or chosen by the configuration.
_NOT_COMPARED = ("accelerator", "num_threads")
_MAX_NAMED = 4

Cause = Literal["settings", "code", "machine"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One cause for which a trial does not speak of the present."""

    cause: Cause
    text: str


def differences(head: TrialHead, tier: Tier | None) -> list[Difference]:
    """Return all causes; settings are compared only where their configuration is known."""
    found = []
    if tier is not None and (changed := settings_difference(head.study, head.settings, tier)):
        found.append(Difference("settings", changed))
    if head.sources_sha256 != current_sources_hash(head.study):
        found.append(Difference("code", f"made by other code ({sources_difference(head.study, head.environment)})"))
    if machine := machine_difference(head.environment):
        found.append(Difference("machine", f"measured on another machine ({machine})"))
    return found


def settings_difference(study: str, settings: Mapping[str, Any], tier: Tier) -> str | None:
    """Return which settings a configuration gives otherwise; None where it gives the same."""
    wanted = trial_settings(tier.config, study)
    if settings_hash(settings) == settings_hash(wanted):
        return None
    there, here = dict(flatten(settings)), dict(flatten(wanted))
    changed = [
        f"{name} is {there.get(name, 'absent')}, now {here.get(name, 'absent')}"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    return f"other settings than {tier.source} ({_some(changed, '; ')})"


def sources_difference(study: str, environment: Mapping[str, Any]) -> str:
    """Return which of a study's files changed since its measurement, as far as git knows."""
    revision = environment.get("git_revision")
    if revision is None:
        return "which files is not known, because it was measured outside a git checkout"
    changed = _changed_since(str(revision), study)
    if changed is None:
        return f"git does not know revision {str(revision)[:10]} of its measurement"
    if not changed:
        return f"measured in an edited checkout of revision {str(revision)[:10]}"
    return f"changed since: {_some([path.removeprefix('workflow/src/') for path in changed], ', ')}"


def machine_difference(environment: Mapping[str, Any]) -> str | None:
    """Return which facts of this machine and its software differ from those of a measurement; None for the same."""
    here = _machine_facts()
    changed = [
        f"{name} is {environment.get(name)}, here {here[name]}"
        for name in IDENTITY
        if name not in _NOT_COMPARED and environment.get(name) != here[name]
    ]
    return _some(changed, "; ") if changed else None


@lru_cache(maxsize=16)
def current_sources_hash(study: str) -> str:
    """Return the hash of the package files that a study has now."""
    return sources_hash(study_sources(study))


@lru_cache(maxsize=1)
def _machine_facts() -> dict[str, Any]:
    return machine_facts()


@lru_cache(maxsize=64)
def _changed_since(revision: str, study: str) -> tuple[str, ...] | None:
    files = [displayed(path) for path in study_sources(study)]
    command = ["git", "-C", str(repository_root()), "diff", "--name-only", "--relative", revision, "--"]
    try:
        finished = subprocess.run([*command, *files], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    # A file that the study did not yet have is named by git like one that changed.
    return tuple(str(Path(line)) for line in finished.stdout.splitlines())


def _some(items: list[str], separator: str) -> str:
    rest = len(items) - _MAX_NAMED
    return separator.join(items[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
