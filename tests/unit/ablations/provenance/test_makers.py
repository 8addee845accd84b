"""What a file was made from is told by one hash, which follows its inputs and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ablations.provenance import makers
from ablations.provenance.folder import read_head
from ablations.provenance.makers import made_from, rendering_files, trial_made_from

TRIAL = "trials/plan_cache/decode/trial_0.json"


def test_a_result_follows_its_trials(whole: Path, edit: Any) -> None:
    """And tables follow the result, but not its trials."""
    result, table = whole / "ablation_3.json", whole / "ablation_cache_table.tex"
    before = made_from(whole, result), made_from(whole, table)
    edit(whole / TRIAL, lambda record: record.update(duration_s=1.0))
    assert made_from(whole, result) != before[0]
    assert made_from(whole, table) == before[1]
    edit(result, lambda content: content["flags"].clear())
    assert made_from(whole, table) != before[1]


def test_another_result_is_not_touched(whole: Path, edit: Any) -> None:
    """Each has trials of its own."""
    before = made_from(whole, whole / "ablation_1.json")
    edit(whole / TRIAL, lambda record: record.update(duration_s=1.0))
    assert made_from(whole, whole / "ablation_1.json") == before


def test_a_trial_is_named_by_the_process_that_measured_it(whole: Path, edit: Any) -> None:
    """Its samples are no part of the name; when it was started is."""
    before = trial_made_from(read_head(whole / TRIAL))
    edit(whole / TRIAL, lambda record: record.update(duration_s=1.0))
    assert made_from(whole, whole / TRIAL) == before
    edit(whole / TRIAL, lambda record: record.update(started_at="2020-01-01T00:00:00+00:00"))
    assert made_from(whole, whole / TRIAL) != before


def test_what_cannot_be_told_is_none(whole: Path) -> None:
    """A result without one of its trials, a damaged trial, the simulation."""
    assert made_from(whole, whole / "signals_simulation.json") is None
    (whole / TRIAL).write_text("{")
    assert made_from(whole, whole / TRIAL) is None
    (whole / TRIAL).unlink()
    assert made_from(whole, whole / "ablation_3.json") is None


@pytest.mark.parametrize(
    "name",
    [
        "workflow/src/ablations/rendering/paper.mplstyle",
        "workflow/src/ablations/rendering/panels/bars.py",
        "workflow/templates/ablation_cache_table.tex.j2",
        "workflow/templates/sections/os_tax.tex.j2",
        "config/claims.yaml",
        "envs/requirements.txt",
    ],
)
def test_whatever_renders_is_covered(root: Path, name: str) -> None:
    """So that an edit of it is not taken for an edit of the result."""
    assert root / name in rendering_files()


@pytest.fixture
def edited_template(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that edits a template of a copy, which is looked at from then on."""
    copy = tmp_path / "repository"
    for folder in ("workflow/src/ablations/rendering", "workflow/templates"):
        shutil.copytree(root / folder, copy / folder)

    def edit(name: str) -> None:
        with (copy / "workflow/templates" / name).open("a") as file:
            file.write("% edited")
        makers._rendering_code.cache_clear()

    monkeypatch.setattr(makers, "repository_root", lambda: copy)
    makers._rendering_code.cache_clear()
    yield edit
    makers._rendering_code.cache_clear()


@pytest.mark.parametrize(
    ("template", "others"),
    [
        ("ablation_cache_table.tex.j2", {"ablation_cache_table.tex", "report.tex"}),
        ("sections/os_tax.tex.j2", {"report.tex"}),
    ],
)
def test_a_template_concerns_what_it_makes(whole: Path, edited_template: Any, template: str, others: set[str]) -> None:
    """Its table, and what is put together from several; not other tables, and no figure."""
    names = ("ablation_cache_table.tex", "ablation_arena_table.tex", "claims.pdf", "ablation_summary.png", "report.tex")
    before = {name: made_from(whole, whole / name) for name in names}
    edited_template(template)
    assert {name for name in names if made_from(whole, whole / name) != before[name]} == others
