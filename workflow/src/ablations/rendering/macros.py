"""One LaTeX macro for each number, so that no text has to repeat one by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ablations.analysis.reading import read_studies
from ablations.rendering.formatting import format_quantity
from ablations.whole_files import write_text

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def render_macros(inputs: list[Path], output: Path) -> None:
    """Write the macros of all given results.

    Raises:
        RecordError: an input that cannot be used, or an output that cannot be written.
        AggregationError: inputs that do not belong together.
    """
    lines = ["% Generated from the aggregated results; each number has its value, its interval and its n."]
    for study, result in read_studies(inputs).items():
        for name, quantity in sorted(result["quantities"].items()):
            lines.extend(_definitions(macro_name(study, name), quantity))
    write_text(output, "\n".join(lines) + "\n")


def macro_name(study: str, quantity: str) -> str:
    """Return the macro's name without its backslash: letters only, as LaTeX demands."""
    words = re.split(r"[._]", f"abl_{study}_{quantity}")
    spelled = (re.sub(r"\d", lambda digit: _DIGITS[int(digit.group())], word) for word in words)
    return "".join(word[:1].upper() + word[1:] for word in spelled)


def _definitions(name: str, quantity: dict[str, Any] | None) -> list[str]:
    number = format_quantity(quantity)
    count = 0 if quantity is None else quantity["num_invocations"]
    return [
        rf"\newcommand{{\{name}}}{{{number.latex}}}",
        rf"\newcommand{{\{name}Interval}}{{{number.latex_interval}}}",
        rf"\newcommand{{\{name}N}}{{{count}}}",
    ]
