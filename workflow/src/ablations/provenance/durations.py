"""How long trials take, from the records of runs that are at hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

from ablations.errors import RecordError
from ablations.provenance.folder import TrialHead, displayed, read_head, trial_files
from ablations.provenance.tiers import Tier
from ablations.settings import repository_root, settings_hash, trial_settings

# Between two trials a process starts and loads torch; a longer pause is no part of a run.
_MAX_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """What a folder of results tells about durations.

    Attributes:
        source: the folder, as a user would type it.
        seconds: of each trial, by study and variant.
        settings: the hash of each study's settings.
        pause_s: usual time from the end of a trial to the beginning of the next.
    """

    source: str
    seconds: dict[tuple[str, str], float]
    settings: dict[str, str]
    pause_s: float


@dataclass(slots=True)
class Expectation:
    """How long some trials will take.

    Attributes:
        seconds: all of them.
        sources: the runs that say so.
        rough: studies whose durations come from other settings.
        unknown: studies that no run has measured.
    """

    seconds: float = 0.0
    sources: set[str] = field(default_factory=set)
    rough: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        if not self.sources:
            return "time not known, because no run of these studies is at hand"
        parts = [f"about {format_seconds(self.seconds)} (from {', '.join(sorted(self.sources))}"]
        if self.rough:
            parts.append(f"rough for {', '.join(sorted(self.rough))}, measured there with other settings")
        if self.unknown:
            parts.append(f"without {', '.join(sorted(self.unknown))}, measured nowhere")
        return "; ".join(parts) + ")"


def runs_at_hand(tier: Tier) -> list[Run]:
    """Return the runs that can tell durations: the tier's own, the default tier's, and the reference runs."""
    results = repository_root() / "results"
    folders = [tier.results_dir, results, *sorted((results / "reference").glob("*"))]
    runs = (read_run(folder) for folder in dict.fromkeys(folders))
    return [run for run in runs if run is not None]


def read_run(folder: Path) -> Run | None:
    """Return what a folder's trials tell; None if it has none."""
    heads = list(_heads(trial_files(folder)))
    if not heads:
        return None
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for head in heads:
        seconds[head.study, head.variant].append(head.duration_s)
    return Run(
        source=displayed(folder),
        seconds={key: fmean(values) for key, values in seconds.items()},
        settings={head.study: head.settings_sha256 for head in heads},
        pause_s=_usual_pause_s(heads),
    )


def expect(tier: Tier, trials: Iterable[tuple[str, str]], runs: list[Run]) -> Expectation:
    """Return how long trials, each given by study and variant, will take in a tier."""
    expectation = Expectation()
    for study, variant in trials:
        wanted = settings_hash(trial_settings(tier.config, study))
        measured = sorted(
            (run for run in runs if any(key[0] == study for key in run.seconds)),
            key=lambda run: run.settings[study] != wanted,
        )
        if not measured:
            expectation.unknown.add(study)
            continue
        run = measured[0]
        expectation.sources.add(run.source)
        if run.settings[study] != wanted:
            expectation.rough.add(study)
        # A variant that this run lacks takes as long as the others of its study.
        others = [value for key, value in run.seconds.items() if key[0] == study]
        expectation.seconds += run.seconds.get((study, variant), fmean(others)) + run.pause_s
    return expectation


def format_seconds(seconds: float) -> str:
    """Return a duration as a person would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _heads(paths: Iterable[Path]) -> Iterable[TrialHead]:
    for path in paths:
        try:
            yield read_head(path)
        except RecordError:
            continue


def _usual_pause_s(heads: list[TrialHead]) -> float:
    spans = sorted((datetime.fromisoformat(head.started_at).timestamp(), head.duration_s) for head in heads)
    pauses = [later[0] - earlier[0] - earlier[1] for earlier, later in pairwise(spans)]
    usual = [pause for pause in pauses if 0 <= pause <= _MAX_PAUSE_S]
    return median(usual) if usual else 0.0
