"""The trials of one study, read and refused unless they belong together."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablations.errors import AggregationError
from ablations.measurement.machine import IDENTITY, machine_id
from ablations.records import TrialRecord, read_record
from ablations.settings import settings_hash

# Each must be the same in all trials of an aggregate: (what to call it, how to read it).
_AGREEMENTS: tuple[tuple[str, Callable[[TrialRecord], Any]], ...] = (
    ("machines or software", lambda record: record.environment["machine_id"]),
    ("settings", lambda record: record.settings_sha256),
    ("versions of the measured code", lambda record: record.sources_sha256),
)


class TrialSet:
    """All trials of one study, in order of variant and trial."""

    def __init__(self, study: str, paths: list[Path]) -> None:
        """Read the trials.

        Raises:
            RecordError: a file that is missing, damaged or of another kind.
            AggregationError: files that do not belong together; the message names them.
        """
        found = sorted(((read_record(path), path) for path in paths), key=lambda pair: (pair[0].variant, pair[0].trial))
        self.study = study
        self.paths = [path for _, path in found]
        self.records = [record for record, _ in found]
        self._refuse_strangers()
        self._refuse_mixtures()
        self._refuse_gaps()
        self._refuse_edits()

    @property
    def settings(self) -> dict[str, Any]:
        """The study's own settings."""
        own: dict[str, Any] = self.records[0].settings["study"]
        return own

    @property
    def variants(self) -> list[str]:
        """Variants that were measured, sorted."""
        return sorted({record.variant for record in self.records})

    def samples(self, variant: str) -> list[dict[str, Any]]:
        """Return the samples of each trial of a variant, in order of trial."""
        return [record.samples for record in self.records if record.variant == variant]

    def manifest(self) -> list[dict[str, Any]]:
        """Return which files went in, by content."""
        return [
            {
                "file": path.as_posix(),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "variant": record.variant,
                "trial": record.trial,
                "seed": record.seed,
                "started_at": record.started_at,
                "duration_s": record.duration_s,
                "flags": record.contamination["flags"],
            }
            for record, path in zip(self.records, self.paths, strict=True)
        ]

    def _refuse_strangers(self) -> None:
        for record, path in zip(self.records, self.paths, strict=True):
            if record.study != self.study:
                raise AggregationError(
                    f"Trial {path} is of study {record.study}, not {self.study}; pass the trials of one study."
                )

    def refuse_fewer(self, expected_trials: int) -> None:
        """Refuse a variant with fewer trials than were asked for.

        Raises:
            AggregationError: with the trials that are missing.
        """
        for variant in self.variants:
            held = {record.trial for record in self.records if record.variant == variant}
            if len(held) < expected_trials:
                missing = sorted(set(range(expected_trials)) - held)
                files = ", ".join(str(path) for path in self.paths if path.parent.name == variant)
                raise AggregationError(
                    f"Study {self.study} has {len(held)} trials of {variant} ({files}), but {expected_trials} are "
                    f"expected; measure trials {', '.join(map(str, missing))}."
                )

    def _refuse_edits(self) -> None:
        """Refuse settings and machines without their hash, which no trial writes; the schema refuses checks that failed."""
        for record, path in zip(self.records, self.paths, strict=True):
            if settings_hash(record.settings) != record.settings_sha256:
                raise AggregationError(
                    f"Trial {path} has settings that do not have the hash it gives; delete it and measure it again."
                )
            if (
                machine_id({name: record.environment.get(name) for name in IDENTITY})
                != record.environment["machine_id"]
            ):
                raise AggregationError(
                    f"Trial {path} tells of a machine and software that do not have the hash it gives; delete it and measure "
                    "it again."
                )

    def _refuse_mixtures(self) -> None:
        for what, read in _AGREEMENTS:
            groups: dict[Any, list[int]] = defaultdict(list)
            for index, record in enumerate(self.records):
                groups[read(record)].append(index)
            if len(groups) > 1:
                strangers = min(groups.values(), key=len)
                others = next(group for group in groups.values() if group is not strangers)
                names = ", ".join(str(self.paths[index]) for index in strangers[:3])
                facts = _disagreement(self.records[strangers[0]].environment, self.records[others[0]].environment)
                raise AggregationError(
                    f"Trials of {self.study} come from {len(groups)} different {what} ({names} differ from the others"
                    f"{facts}); measure them again or aggregate them apart."
                )

    def _refuse_gaps(self) -> None:
        if not self.records:
            raise AggregationError(f"Study {self.study} has no trials; measure at least one.")
        trials: dict[str, list[int]] = defaultdict(list)
        for record in self.records:
            trials[record.variant].append(record.trial)
        for variant, numbers in trials.items():
            if len(numbers) != len(set(numbers)):
                raise AggregationError(
                    f"Study {self.study} has a trial of {variant} twice ({numbers}); pass each trial once."
                )
        if len({tuple(numbers) for numbers in trials.values()}) > 1:
            held = "; ".join(f"{variant} has {numbers}" for variant, numbers in sorted(trials.items()))
            raise AggregationError(
                f"Study {self.study} lacks trials of some variants ({held}); measure the missing ones."
            )


def _disagreement(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Return the facts of identity in which two environments differ, as the continuation of a sentence."""
    differing = [f"{name} is {one[name]} instead of {other[name]}" for name in IDENTITY if one[name] != other[name]]
    return f": {'; '.join(differing)}" if differing else ""
