"""No template holds a number that somebody typed: digits stand in macros, in layout, and in a few names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# What Jinja puts in is generated; its comments are never printed. Expressions may hold braces of their own, one deep.
_GENERATED = re.compile(r"\\(?:VAR|BLOCK|\#)\{(?:[^{}]|\{[^{}]*\})*\}")
# Layout: classes and packages, lengths, the places of rules and columns, how a figure is fitted, options of siunitx.
_LAYOUT = (
    re.compile(r"\\(?:documentclass|usepackage|sisetup|captionsetup)(?:\[[^\]]*\])?\{(?:[^{}]|\{[^{}]*\})*\}"),
    re.compile(r"\\(?:setlength|addtolength)\{[^}]*\}\{[^}]*\}"),
    re.compile(r"\\emergencystretch=\d+em"),
    re.compile(r"\\newcommand\{\\[a-z]+\}\[\d\]"),
    re.compile(r"(?<![\d.])0?\.\d+\\linewidth"),
    re.compile(r"\\if(?:dim|num)[^>]*>[\d.]*"),
    re.compile(r"\\cmidrule\([lr]+\)\{\d+-\d+\}"),
    re.compile(r"\\multicolumn\{\d+\}"),
    re.compile(r"#\d"),
    re.compile(r"(?<=p\{)\d+\.?\d*cm(?=\})"),
)
# Names that have digits: shapes and formulas that label an arm, quantiles, and a flag of the command line.
_NAMES = ("--cores 1", r"$1{\times}1$", "layer, 1 token", r"$1+\tau/(c+2s)$", "p50", "p99")


def _typed_digits(text: str) -> list[str]:
    """Return the lines of a template that still hold a digit once all that may hold one is gone."""
    for pattern in (_GENERATED, *_LAYOUT):
        text = pattern.sub("", text)
    for name in _NAMES:
        text = text.replace(name, "")
    return [line for line in text.splitlines() if re.search(r"\d", line)]


def _templates(root: Path) -> list[Path]:
    found = sorted((root / "workflow/templates").rglob("*.tex.j2"))
    assert len(found) > 10
    return found


def test_no_number_is_typed_into_a_template(root: Path) -> None:
    """Whatever is printed was measured, or stands in the configuration."""
    assert {path.name: _typed_digits(path.read_text()) for path in _templates(root)} == {
        path.name: [] for path in _templates(root)
    }


@pytest.mark.parametrize(
    "text",
    [
        "A warm call adds 63 us.",
        r"faster by $4.7\times$",
        r"\VAR{q.value} of 300",
        r"\multicolumn{2}{c}{42}",
        r"the 95\,\% interval",
        "layer, 128 tokens",
    ],
)
def test_a_typed_number_is_found(text: str) -> None:
    """The rule is no sieve."""
    assert _typed_digits(text)


@pytest.mark.parametrize("text", [r"\VAR{'%g' % (1e3 * x)}", r"\BLOCK{ if x == 1 }", r"\cmidrule(lr){5-8}", "p99"])
def test_layout_and_names_are_let_through(text: str) -> None:
    """And no more than those."""
    assert not _typed_digits(text)
