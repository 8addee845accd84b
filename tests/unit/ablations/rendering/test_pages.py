"""What a reader of the pages would stumble over: hyphens for minus signs, names of flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablations.rendering.pages import _explained_flag, _with_minus, render_pages


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("-3.0%", "−3.0%"),
        ("[-4.5, -2.1]", "[−4.5, −2.1]"),
        ("-3.01 [-4.45, 1] % over 6 invocations", "−3.01 [−4.45, 1] % over 6 invocations"),
        ("GPT-2, per-session, --trials, 2026-11-25", "GPT-2, per-session, --trials, 2026-11-25"),
    ],
)
def test_negative_numbers_have_a_minus_sign_and_names_keep_their_hyphens(text: str, shown: str) -> None:
    """U+2212, which is as wide as a digit."""
    assert _with_minus(text) == shown


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("underpowered", "underpowered, which is fewer than 6 trials"),
        ("busy_during in 1 of 24 trials", "other programs ran while measuring in 1 of 24 trials"),
        ("unheard_of in 2 of 3 trials", "unheard_of in 2 of 3 trials"),
    ],
)
def test_flags_are_explained(flag: str, words: str) -> None:
    """One that is not known is shown as it is."""
    assert _explained_flag(flag) == words


def test_the_opening_says_which_study_each_claim_is_of(root: Path, tmp_path: Path) -> None:
    """Numbers alone say nothing to whoever opens the report first."""
    folder = root / "results/reference/intel-xeon-2-cores"
    render_pages(sorted(folder.glob("ablation_?.json")), folder / "claims.json", tmp_path)
    opening = (tmp_path / "report.rst").read_text()
    assert "in the order of the document: C1 to C10 speak of the OS tax," in opening
    assert "C28 to C35 speak of the semantic signals." in opening
    assert "[−" in (tmp_path / "claims.html").read_text()
    assert "[-" not in (tmp_path / "tables.html").read_text()
