"""Errors that a user of the study can cause or has to know of; each message is one sentence with its remedy.

AblationError
├── SettingsError (also ValueError)   a configuration that cannot be used
├── RecordError                       a result file that is missing, damaged or of another kind
├── AggregationError                  trials that may not be put together
├── ClaimsError (also ValueError)     a claims file that contradicts itself or asks for what no study measures
├── LedgerError                       results that are not what made them
└── MeasurementError                  a trial whose checks failed or that could not be run
"""

from __future__ import annotations


class AblationError(Exception):
    """Base of the study's errors."""


class SettingsError(AblationError, ValueError):
    """A configuration that cannot be used."""


class RecordError(AblationError):
    """A result file that is missing, damaged or of another kind."""


class AggregationError(AblationError):
    """Trials that may not be put together."""


class ClaimsError(AblationError, ValueError):
    """A claims file that contradicts itself, or that asks for what no study measures."""


class LedgerError(AblationError):
    """Results that are not what made them."""


class MeasurementError(AblationError):
    """A trial whose checks failed, or that could not be run."""


def refused_by_system(error: OSError) -> str:
    """Return a sentence for what the operating system refused, where nobody who knows more has said it."""
    place = "a file or standard output" if error.filename is None else error.filename
    return f"The system refuses {place} ({error.strerror}); check the path, its permissions and the space that is left."
