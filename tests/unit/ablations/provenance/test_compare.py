"""Ratios are compared, absolute times of other hardware are labelled, and what cannot be read is left out by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ablations.errors import RecordError
from ablations.provenance.compare import compare_files, quantity_kind, quotient
from support import row_widths

RATIO, TIME = "token_speedup", "token.warm"


@pytest.fixture
def references(original: Path, tmp_path: Path) -> Path:
    """A folder with this run as its only reference."""
    shutil.copytree(original, tmp_path / "reference/twin")
    return tmp_path / "reference"


def _compared(results: Path, references: Path, tmp_path: Path) -> tuple[dict[str, Any], list[str]]:
    output = tmp_path / "out/compare.json"
    notes = list(compare_files(results, references, output))
    return json.loads(output.read_text()), notes


def _row(comparison: dict[str, Any], quantity: str, study: str = "plan_cache") -> dict[str, Any]:
    (row,) = (row for row in comparison["rows"] if (row["study"], row["quantity"]) == (study, quantity))
    return dict(row)


def test_a_run_agrees_with_itself(original: Path, references: Path, tmp_path: Path) -> None:
    """Every quantity is there, once, with quotient one."""
    comparison, notes = _compared(original, references, tmp_path)
    assert notes == []
    assert comparison["machines"] == ["twin"]
    assert len(comparison["rows"]) > 100
    for row in comparison["rows"]:
        beside = row["references"]["twin"]
        assert beside["verdict"] == "intervals overlap"
        assert beside["quotient"] is None or beside["quotient"] == pytest.approx(1)


def test_other_hardware_is_labelled_for_times_and_not_for_ratios(
    original: Path, references: Path, tmp_path: Path, edit: Any
) -> None:
    """A ratio is Djinn's; a time is the processor's as well."""
    edit(references / "twin/ablation_3.json", lambda result: result["environment"].update(cpu_model="Z80"))
    comparison, _ = _compared(original, references, tmp_path)
    assert _row(comparison, TIME)["references"]["twin"]["verdict"] == "different hardware"
    assert _row(comparison, RATIO)["references"]["twin"]["verdict"] == "intervals overlap"
    page = (tmp_path / "out/compare.txt").read_text()
    times = page.split("Absolute times")[1]
    assert f"plan_cache.{TIME}: " in times
    assert "different hardware" in times
    assert "different hardware" not in page.split("Absolute times")[0]


def test_intervals_that_lie_apart_are_said_so(original: Path, references: Path, tmp_path: Path, edit: Any) -> None:
    """With the quotient."""

    def thousandfold(result: dict[str, Any]) -> None:
        quantity = result["quantities"][RATIO]
        quantity.update({name: 1000 * quantity[name] for name in ("value", "low", "high")})

    edit(references / "twin/ablation_3.json", thousandfold)
    beside = _row(_compared(original, references, tmp_path)[0], RATIO)["references"]["twin"]
    assert beside["verdict"] == "intervals apart"
    assert beside["quotient"] == pytest.approx(0.001)


def test_other_settings_and_other_code_are_noted(original: Path, references: Path, tmp_path: Path, edit: Any) -> None:
    """And nothing of them is called equal."""
    edit(references / "twin/ablation_3.json", lambda r: r.update(settings_sha256="0" * 64, sources_sha256="0" * 64))
    comparison, _ = _compared(original, references, tmp_path)
    assert _row(comparison, RATIO)["references"]["twin"]["verdict"] == "other settings"
    assert "plan_cache: twin was measured with other settings" in comparison["notes"]
    assert "plan_cache: twin was measured with other code" in comparison["notes"]


def test_trials_of_another_form_leave_their_study_out(
    original: Path, references: Path, tmp_path: Path, edit: Any
) -> None:
    """By name and reason; the other studies stay."""
    edit(
        references / "twin/trials/plan_cache/decode/trial_0.json",
        lambda record: record["samples"].pop("timer_floor_us"),
    )
    comparison, notes = _compared(original, references, tmp_path)
    assert _row(comparison, RATIO)["references"] == {}
    assert _row(comparison, "reserve", "session_arena")["references"]
    (note,) = notes
    assert "plan_cache of twin, because it is of another form" in note
    assert "'timer_floor_us' is a required property" in note
    assert comparison["skipped"] == [note.removeprefix("left out: ")]


def test_a_reference_of_another_schema_version_is_left_out(
    original: Path, references: Path, tmp_path: Path, edit: Any
) -> None:
    """With both versions."""
    edit(references / "twin/ablation_3.json", lambda result: result.update(schema_version=7))
    assert "has schema version 7, but this release reads 1" in _compared(original, references, tmp_path)[1][0]


def test_without_references_the_page_says_so(original: Path, tmp_path: Path) -> None:
    """The paper is still beside."""
    (tmp_path / "none").mkdir()
    comparison, _ = _compared(original, tmp_path / "none", tmp_path)
    assert comparison["machines"] == []
    assert "beside no reference run and the paper" in (tmp_path / "out/compare.txt").read_text()


def test_a_folder_of_references_has_to_be_there(original: Path, tmp_path: Path) -> None:
    """A name that was mistyped is no empty folder."""
    with pytest.raises(RecordError, match="References .*absent are no folder; pass one that holds a folder for each"):
        _compared(original, tmp_path / "absent", tmp_path)
    assert not (tmp_path / "out").exists()


def test_what_the_paper_states_stands_beside(original: Path, references: Path, tmp_path: Path) -> None:
    """At the quantity that it speaks of, with the hardware where it speaks of one."""
    comparison, _ = _compared(original, references, tmp_path)
    (stated,) = [
        text for text in _row(comparison, "transformer_layer.warm_overhead", "os_tax")["paper"] if "5 %" in text
    ]
    assert stated == "at most 5 % ('Real operations (transformer layer): <5% overhead')"
    assert any(", on H100 (" in text for text in _row(comparison, TIME)["paper"])
    assert f"    paper: {stated}" in (tmp_path / "out/compare.txt").read_text()


def test_the_table_has_the_ratios_alone(original: Path, references: Path, tmp_path: Path) -> None:
    """One row each, and below it one for each machine that has it; more machines make the table longer, not wider."""
    comparison, _ = _compared(original, references, tmp_path)
    table = (tmp_path / "out/compare_table.tex").read_text()
    ratios = [row for row in comparison["rows"] if row["kind"] == "ratio"]
    assert r"token\_speedup ($\times$)" in table
    assert "  token.warm (" not in table
    assert table.count(r"  \quad ") == sum(len(row["references"]) for row in ratios) > 0
    for study in {row["study"] for row in ratios}:
        assert rf"\textbf{{{study.replace('_', chr(92) + '_')}}}" in table
    # A name, a value with its interval, and the quotient.
    assert row_widths(table) == {4}


@pytest.mark.parametrize(
    ("unit", "kind"),
    [("%", "ratio"), ("ratio", "ratio"), ("us", "absolute time"), ("ns/MB", "absolute time"), ("agents", "count")],
)
def test_units_tell_what_is_comparable(unit: str, kind: str) -> None:
    """Slopes over sizes are times too."""
    assert quantity_kind(unit) == kind


def test_overheads_are_compared_as_slow_downs() -> None:
    """1 % beside 3 % is no factor of three."""
    one, three = {"unit": "%", "value": 1.0}, {"unit": "%", "value": 3.0}
    assert quotient("token.warm_overhead", one, three) == pytest.approx(1.01 / 1.03)
    assert quotient("reserve_over_commit", one, three) == pytest.approx(1 / 3)
    assert quotient("gain", {"unit": "ratio", "value": 6.0}, {"unit": "ratio", "value": 3.0}) == 2
    assert quotient("slope", {"unit": "us", "value": -1.0}, {"unit": "us", "value": 3.0}) is None


def test_the_page_names_the_accelerator(original: Path, references: Path, tmp_path: Path, edit: Any) -> None:
    """Beside the processor, which says little where another device computes; one machine has none."""
    results = tmp_path / "results"
    shutil.copytree(original, results)
    for number in range(1, 5):
        edit(results / f"ablation_{number}.json", lambda result: result["environment"].update(accelerator="Some GPU"))
    _compared(original, references, tmp_path)
    assert "GPU" not in (tmp_path / "out/compare.txt").read_text().splitlines()[0]
    _compared(results, references, tmp_path)
    assert " on Some GPU with " in (tmp_path / "out/compare.txt").read_text().splitlines()[0]
