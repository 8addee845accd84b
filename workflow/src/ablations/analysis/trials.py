"""The trials of one study, read and refused unless they belong together."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablations.errors import AggregationError
from ablations.records import TrialRecord, read_record

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

    def _refuse_mixtures(self) -> None:
        for what, read in _AGREEMENTS:
            groups: dict[Any, list[Path]] = defaultdict(list)
            for record, path in zip(self.records, self.paths, strict=True):
                groups[read(record)].append(path)
            if len(groups) > 1:
                smallest = min(groups.values(), key=len)
                names = ", ".join(str(path) for path in smallest[:3])
                raise AggregationError(
                    f"Trials of {self.study} come from {len(groups)} different {what} ({names} differ from the others); "
                    "measure them again or aggregate them apart."
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
