"""Every kind of damage is done to real results and found, by name and kind; what is whole is called whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablations.errors import RecordError
from ablations.provenance.folder import LEDGER_NAME
from ablations.provenance.verify import report, verify
from ablations.settings import settings_hash

TRIAL = "trials/plan_cache/decode/trial_0.json"
RESULT = "ablation_3.json"
Change = Callable[[dict[str, Any]], Any]


def _found(results: Path, *, recompute: bool = False) -> set[tuple[str, str]]:
    """Return kind and file name of every finding."""
    return {(finding.kind, Path(finding.file).name) for finding in verify(results, [], recompute=recompute)}


def _renamed(record: dict[str, Any]) -> None:
    record["trial"] = 3


def _other_settings(record: dict[str, Any]) -> None:
    record["settings"]["study"]["tokens"] += 1
    record["settings_sha256"] = settings_hash(record["settings"])


@pytest.mark.parametrize("recompute", [False, True])
def test_what_was_just_made_is_whole(original: Path, recompute: bool) -> None:
    """Also if its numbers are computed again."""
    assert _found(original, recompute=recompute) == set()


def test_without_a_ledger_records_and_recomputation_tell(whole: Path) -> None:
    """As for a reference run, which has none."""
    (whole / LEDGER_NAME).unlink()
    assert _found(whole) == set()
    *_, summary = report(whole, [], recompute=False)
    assert "by its records, because it has no ledger" in summary.text


@pytest.mark.parametrize("has_ledger", [True, False])
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("edited", lambda r: r["samples"]["tokens"][0].update(token_us=1.0)),
        ("edited", lambda r: r["settings"]["study"].update(tokens=9)),
        ("other schema", lambda r: r["checks"].update(bit_exact=False)),
        ("edited", _renamed),
        ("other settings", _other_settings),
        ("other code", lambda r: r.update(sources_sha256="0" * 64)),
        ("other machine", lambda r: r["environment"].update(machine_id="0" * 12)),
        ("other schema", lambda r: r.update(schema_version=99)),
        ("other schema", lambda r: r.update(mood="good")),
    ],
)
def test_an_edited_trial_is_found(whole: Path, edit: Any, kind: str, change: Change, has_ledger: bool) -> None:
    """Whatever was edited, with a ledger and without; what the record says of itself is named too."""
    if not has_ledger:
        (whole / LEDGER_NAME).unlink()
    edit(whole / TRIAL, change)
    found = _found(whole)
    assert (kind, "trial_0.json") in found
    assert ("edited", "trial_0.json") in found


@pytest.mark.parametrize("has_ledger", [True, False])
def test_a_truncated_trial_is_found(whole: Path, has_ledger: bool) -> None:
    """As a file that a full disk leaves."""
    if not has_ledger:
        (whole / LEDGER_NAME).unlink()
    text = (whole / TRIAL).read_text()
    (whole / TRIAL).write_text(text[: len(text) // 2])
    assert ("damaged", "trial_0.json") in _found(whole)


def test_nesting_that_nobody_can_read_is_found(whole: Path) -> None:
    """Python's reader ends at the depth of its stack."""
    (whole / TRIAL).write_text("[" * 100_000)
    assert ("damaged", "trial_0.json") in _found(whole)


@pytest.mark.parametrize("has_ledger", [True, False])
def test_a_lost_trial_is_found(whole: Path, has_ledger: bool) -> None:
    """The result still lists it."""
    if not has_ledger:
        (whole / LEDGER_NAME).unlink()
    (whole / TRIAL).unlink()
    assert ("lost", "trial_0.json") in _found(whole)


@pytest.mark.parametrize("name", [RESULT, "ablation_cache_table.tex", "../figures/ablation_summary.png"])
def test_a_lost_file_is_found(whole: Path, name: str) -> None:
    """Results, tables and figures."""
    (whole / name).unlink()
    assert ("lost", Path(name).name) in _found(whole)


@pytest.mark.parametrize("name", ["bar.json", "decode/bar.json"])
def test_what_is_no_trial_is_found_among_trials(whole: Path, name: str) -> None:
    """At any depth; a journal, which an interrupted trial leaves, belongs there."""
    (whole / "trials/plan_cache" / name).write_text("{}")
    (whole / "trials/plan_cache/decode/trial_7.journal.jsonl").write_text("{}")
    assert _found(whole) == {("added", Path(name).name)}


@pytest.mark.parametrize("has_ledger", [True, False])
def test_a_trial_that_was_added_is_found(whole: Path, has_ledger: bool) -> None:
    """No result was made from it."""
    if not has_ledger:
        (whole / LEDGER_NAME).unlink()
    shutil.copy(whole / TRIAL, whole / TRIAL.replace("trial_0", "trial_1"))
    assert ("added", "trial_1.json") in _found(whole)


@pytest.mark.parametrize("name", ["notes.tex", "../figures/ablation_5.pdf"])
def test_a_file_that_was_added_is_found(whole: Path, name: str) -> None:
    """Beside the results and among the figures."""
    (whole / name).write_text("by hand")
    assert _found(whole) == {("added", Path(name).name)}


@pytest.mark.parametrize("name", ["peers.pdf", "compare.json", ".trial_0.xyz.json", "README.md"])
def test_what_is_made_on_demand_is_no_finding(whole: Path, name: str) -> None:
    """Nor what a killed writer left, nor what is committed."""
    (whole / name).write_text("{}")
    assert _found(whole) == set()


@pytest.mark.parametrize(
    "name", ["ablation_numbers.tex", "ablation_cache_table.tex", "../figures/ablation_summary.pdf"]
)
def test_an_edited_rendering_is_found(whole: Path, name: str) -> None:
    """It changed although results and templates did not."""
    with (whole / name).open("a") as file:
        file.write("% better\n")
    assert _found(whole) == {("edited", Path(name).name)}


def _raise_speedup(result: dict[str, Any]) -> None:
    result["quantities"]["token_speedup"]["value"] *= 10


@pytest.mark.parametrize("has_ledger", [True, False])
def test_an_edited_result_is_found(whole: Path, edit: Any, has_ledger: bool) -> None:
    """Even without a ledger, because its trials do not give that number."""
    if not has_ledger:
        (whole / LEDGER_NAME).unlink()
    edit(whole / RESULT, _raise_speedup)
    findings = [one for one in verify(whole, [], recompute=False) if one.kind == "edited"]
    assert {Path(one.file).name for one in findings} == {RESULT}
    if not has_ledger:
        assert "quantities.token_speedup.value is not what its trials give" in findings[0].text


def test_a_result_of_another_schema_is_found(whole: Path, edit: Any) -> None:
    """Of a newer release, which this one cannot read."""
    edit(whole / RESULT, lambda result: result.update(schema_version=2))
    assert ("other schema", RESULT) in _found(whole)


def test_results_that_other_code_made_are_found(whole: Path, edit: Any) -> None:
    """Their content is that of the ledger, but the present code would make them anew."""

    def other_code(ledger: dict[str, Any]) -> None:
        for name in (RESULT, "ablation_cache_table.tex"):
            ledger["files"][name]["made_from"] = "0" * 64

    edit(whole / LEDGER_NAME, other_code)
    assert _found(whole) == {("stale", RESULT), ("stale", "ablation_cache_table.tex")}


def test_results_that_were_made_again_are_not_called_edited(whole: Path, edit: Any) -> None:
    """The ledger is behind; the workflow brings it up to date."""

    def older(ledger: dict[str, Any]) -> None:
        ledger["files"]["ablation_cache_table.tex"] = {"sha256": "1" * 64, "made_from": "0" * 64}

    edit(whole / LEDGER_NAME, older)
    assert _found(whole) == {("outdated", "ablation_cache_table.tex")}


def test_a_damaged_ledger_is_an_error(whole: Path) -> None:
    """Nothing is verified against half of it."""
    (whole / LEDGER_NAME).write_text("{")
    with pytest.raises(RecordError, match=r"ledger.json is not complete JSON"):
        list(verify(whole, [], recompute=False))


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    """Not a clean bill."""
    with pytest.raises(RecordError, match="measure first or pass --results-dir"):
        list(verify(tmp_path, [], recompute=False))


def test_the_report_groups_and_counts(whole: Path) -> None:
    """One line for a reason, its files below, one sentence at the end."""
    for study in ("plan_cache/decode", "session_arena/arenas"):
        (whole / "trials" / study / "trial_0.json").unlink()
    lines = list(report(whole, [], recompute=False))
    assert sum(line.is_finding for line in lines) >= 1
    # Each is missing from the ledger's list and from its result's.
    assert lines[-1].text.endswith("is not as it was made: 4 lost.")
    assert any(line.text.startswith("    ") and line.text.endswith("arenas/trial_0.json") for line in lines)


def test_the_command_tells_by_its_status(whole: Path, run_cli: Any) -> None:
    """0 for whole results, 1 for damaged ones, 2 for none."""
    assert run_cli("-m", "ablations", "verify", "--results-dir", whole).returncode == 0
    (whole / TRIAL).unlink()
    damaged = run_cli("-m", "ablations", "verify", "--results-dir", whole)
    assert damaged.returncode == 1
    assert "lost: " in damaged.stdout
    nothing = run_cli("-m", "ablations", "verify", "--results-dir", whole / "trials")
    assert nothing.returncode == 2
    assert json.dumps(nothing.stderr).count("Traceback") == 0
