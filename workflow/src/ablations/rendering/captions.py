"""The caption of each figure, kept once for the document and for the report."""

from __future__ import annotations

from pathlib import Path

from ablations.settings import repository_root


def caption_path(figure: str) -> Path:
    """Return the file that holds a figure's caption."""
    return repository_root() / f"workflow/report/{figure}.rst"


def figure_caption(figure: str) -> str:
    """Return a figure's caption as one line of plain text, with percentages that no line break divides."""
    return " ".join(caption_path(figure).read_text().split()).replace(" %", "\N{NO-BREAK SPACE}%")
