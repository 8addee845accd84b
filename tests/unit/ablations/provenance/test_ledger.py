"""The ledger is reproducible, and never calls an edited file its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablations.errors import LedgerError, RecordError
from ablations.provenance.folder import LEDGER_NAME
from ablations.provenance.ledger import read_ledger, write_ledger

TABLE = "ablation_cache_table.tex"


def _files(results: Path) -> list[Path]:
    return [results / name for name in read_ledger(results)["files"] if "trials/" not in name]


def test_writing_again_gives_the_same_bytes(whole: Path) -> None:
    """Whatever the order of the files."""
    before = (whole / LEDGER_NAME).read_bytes()
    write_ledger(whole, reversed(_files(whole)))
    assert (whole / LEDGER_NAME).read_bytes() == before


def test_the_trials_of_the_results_are_in_it(original: Path) -> None:
    """Though only the results were named."""
    assert "trials/plan_cache/decode/trial_0.json" in read_ledger(original)["files"]


@pytest.mark.parametrize("name", [TABLE, "../figures/ablation_summary.pdf", "ablation_numbers.tex"])
def test_an_edited_file_is_refused(whole: Path, name: str) -> None:
    """With its name, and the old ledger stays."""
    before = (whole / LEDGER_NAME).read_bytes()
    with (whole / name).open("a") as file:
        file.write("% better\n")
    with pytest.raises(LedgerError, match="were edited since .* delete them and make them again") as caught:
        write_ledger(whole, _files(whole))
    assert name in str(caught.value)
    assert (whole / LEDGER_NAME).read_bytes() == before


def test_an_edited_result_is_refused(whole: Path, edit: Any) -> None:
    """What was rendered from it is not blamed."""
    edit(whole / "ablation_3.json", lambda result: result["flags"].clear())
    with pytest.raises(LedgerError, match=r"\(ablation_3.json\)"):
        write_ledger(whole, _files(whole))


def test_an_edited_trial_is_refused(whole: Path, edit: Any) -> None:
    """Because its result was not made from it."""
    edit(whole / "trials/plan_cache/decode/trial_0.json", lambda record: record.update(duration_s=1.0))
    with pytest.raises(LedgerError, match=r"trial_0.json changed after .*ablation_3.json was aggregated from it"):
        write_ledger(whole, _files(whole))


def test_a_file_that_was_made_again_from_something_else_is_taken(whole: Path, edit: Any) -> None:
    """Its content changed because what it is made from did."""
    edit(
        whole / LEDGER_NAME, lambda ledger: ledger["files"].update({TABLE: {"sha256": "1" * 64, "made_from": "0" * 64}})
    )
    write_ledger(whole, _files(whole))
    assert read_ledger(whole)["files"][TABLE]["sha256"] != "1" * 64


def test_a_folder_is_no_result(whole: Path) -> None:
    """Though it exists."""
    with pytest.raises(RecordError, match="trials is no regular file; pass the files"):
        write_ledger(whole, [whole / "trials"])


def test_a_missing_file_is_named(whole: Path) -> None:
    """No ledger of half a run."""
    files = _files(whole)
    (whole / TABLE).unlink()
    with pytest.raises(RecordError, match=f"{TABLE} does not exist; run the rule"):
        write_ledger(whole, files)
