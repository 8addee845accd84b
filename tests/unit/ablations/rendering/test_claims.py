"""The verdicts' table and figure from real results."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pypdf
import pytest

from ablations.judging.claims import DEFAULT_CLAIMS
from ablations.judging.grades import Grade
from ablations.judging.judge import judge_files
from ablations.rendering import shown_verdicts
from ablations.rendering.claims import read_verdicts, render_claims_figure, render_claims_table
from ablations.rendering.panels.claims import measured_claims
from ablations.rendering.style import GRADE_LOOKS
from support import require_tool


@pytest.fixture(scope="module")
def verdicts(root: Path, tiny_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Verdicts on tiny results."""
    path = tmp_path_factory.mktemp("verdicts") / "claims.json"
    judge_files(root / DEFAULT_CLAIMS, sorted(tiny_results.glob("ablation_?.json")), path)
    return path


def test_the_table_has_every_claim_its_words_and_its_grade(verdicts: Path, tmp_path: Path) -> None:
    """In order of the document's ablations."""
    render_claims_table(verdicts, tmp_path / "t.tex")
    lines = (tmp_path / "t.tex").read_text().splitlines()
    rows = [line for line in lines if line.startswith("    \\texttt{")]
    judged = read_verdicts(verdicts)["verdicts"]
    assert len(rows) == len(judged)
    for row, verdict in zip(rows, judged, strict=True):
        assert verdict["id"].partition(".")[2].replace("_", r"\_") in row
        assert f"& {verdict['grade']} &" in row
        assert f"({verdict['line']})" in row
    assert r"``Cold: tens of milliseconds (meta-sim)'' (65) & 10--100\,ms &" in "\n".join(rows)


def test_the_table_fits_a_page(verdicts: Path, tmp_path: Path) -> None:
    """In LaTeX's own article, whatever characters the document's words have."""
    render_claims_table(verdicts, tmp_path / "t.tex")
    (tmp_path / "page.tex").write_text(
        "\n".join(
            (
                r"\documentclass[10pt]{article}\usepackage[margin=1in]{geometry}\usepackage{booktabs}",
                r"\begin{document}\input{t}\end{document}",
            )
        )
    )
    finished = subprocess.run(
        [require_tool("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-2000:]
    assert "Overfull" not in finished.stdout
    assert len(pypdf.PdfReader(tmp_path / "page.pdf").pages) == 1


def test_every_grade_has_a_look() -> None:
    """In the same order, best first."""
    assert list(GRADE_LOOKS) == [grade.value for grade in Grade]


def test_the_figure_has_every_claim_that_has_a_number(verdicts: Path, tmp_path: Path) -> None:
    """Grouped by grade, as wide as a page."""
    render_claims_figure(verdicts, tmp_path / "f.pdf")
    page = pypdf.PdfReader(tmp_path / "f.pdf").pages[0]
    assert float(page.mediabox.width) / 72 == pytest.approx(7.0, abs=0.01)
    text = page.extract_text()
    rows = measured_claims(read_verdicts(verdicts))
    assert rows
    for row in rows:
        assert row["id"] in text
        assert row["grade"].split(" in ")[0] in text
    order = [list(GRADE_LOOKS).index(row["grade"]) for row in rows]
    assert order == sorted(order)


def test_the_figure_shows_the_numbers(verdicts: Path, tmp_path: Path) -> None:
    """Others give another picture, the same ones the same bytes."""
    judged = json.loads(verdicts.read_text())
    for name in ("a", "b"):
        render_claims_figure(verdicts, tmp_path / f"{name}.pdf")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    for verdict in judged["verdicts"]:
        for end in ("value", "low", "high"):
            if verdict["measured"]:
                verdict["measured"][end] *= 1.7
    (tmp_path / "other.json").write_text(json.dumps(judged))
    render_claims_figure(tmp_path / "other.json", tmp_path / "c.pdf")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()


def test_negative_numbers_have_minus_signs(verdicts: Path, tmp_path: Path) -> None:
    """LaTeX prints a hyphen otherwise, and an interval of hyphens reads as ranges."""
    judged = json.loads(verdicts.read_text())
    measured = next(verdict["measured"] for verdict in judged["verdicts"] if verdict["measured"])
    measured.update(value=-4.72, low=-5.6, high=-3.78)
    (tmp_path / "negative.json").write_text(json.dumps(judged))
    render_claims_table(tmp_path / "negative.json", tmp_path / "t.tex")
    assert r"$-$4.72 {\scriptsize [$-$5.60, $-$3.78]}" in (tmp_path / "t.tex").read_text()


def test_a_bound_is_one_line(verdicts: Path) -> None:
    """Its unit is not parted from its number, and a factor follows at once."""
    for verdict in shown_verdicts.read_verdicts(verdicts):
        assert re.fullmatch(r"(at most|at least|[\d.]+ to) [\d.]+(×|\N{NO-BREAK SPACE}(%|µs|ms))?", verdict.bound), (
            verdict.bound
        )
