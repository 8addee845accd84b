"""Text for LaTeX: what it would print otherwise, and what no line break divides."""

from __future__ import annotations

import pytest

from ablations.rendering.captions import figure_caption
from ablations.rendering.latex import escape


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~1-5 ms", r"$\sim$1-5 ms"),
        ("95\N{NO-BREAK SPACE}%", r"95~\%"),
        ("a_b & {c}", r"a\_b \& \{c\}"),
        ("\\", r"\textbackslash{}"),
    ],
)
def test_text_is_printed_as_it_stands(text: str, expected: str) -> None:
    """A tilde means "about", and a space that does not break is LaTeX's tie."""
    assert escape(text) == expected


def test_a_captions_percentages_stay_on_one_line() -> None:
    """A line that begins with a percent sign reads as a slip."""
    caption = figure_caption("ablation_1_os_tax")
    assert "95\N{NO-BREAK SPACE}%" in caption
    assert " %" not in caption
