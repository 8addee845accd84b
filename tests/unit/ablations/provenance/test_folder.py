"""A folder of results is read as it lies on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablations.errors import RecordError
from ablations.provenance.folder import (
    displayed,
    file_sha256,
    flatten,
    locate_trial,
    read_head,
    require_folder,
    result_files,
    trial_files,
)


def test_trials_of_a_copied_folder_are_its_own(original: Path, whole: Path) -> None:
    """Not those at the path at which it was made, even if they are lost."""
    entry = {"variant": "decode", "trial": 0, "file": str(original / "trials/plan_cache/decode/trial_0.json")}
    own = whole / "trials/plan_cache/decode/trial_0.json"
    assert locate_trial(whole, "plan_cache", entry) == own
    own.unlink()
    assert locate_trial(whole, "plan_cache", entry) == own


def test_results_without_trials_lead_to_where_they_were_made(original: Path, tmp_path: Path) -> None:
    """As long as those trials exist."""
    made = original / "trials/plan_cache/decode/trial_0.json"
    assert locate_trial(tmp_path, "plan_cache", {"variant": "decode", "trial": 0, "file": str(made)}) == made


def test_a_folder_of_results_is_a_folder_or_not_there_yet(tmp_path: Path) -> None:
    """Nothing can be measured into a file."""
    require_folder(tmp_path)
    require_folder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="file are no folder; pass the folder that holds"):
        require_folder(tmp_path / "file")


def test_trials_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    """Ten after nine; journals are none."""
    folder = tmp_path / "trials/os_tax/micro_add"
    folder.mkdir(parents=True)
    for number in (10, 9, 0):
        (folder / f"trial_{number}.json").touch()
        (folder / f"trial_{number}.journal.jsonl").touch()
    assert [path.name for path in trial_files(tmp_path)] == ["trial_0.json", "trial_9.json", "trial_10.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("{", "is no whole trial record"),
        ("[]", "is no whole trial record"),
        ("{}", "no whole"),
    ],
)
def test_a_trial_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str | None, message: str) -> None:
    """With its path."""
    path = tmp_path / "trial_0.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecordError, match=message) as caught:
        read_head(path)
    assert str(path) in str(caught.value)


def test_a_head_agrees_with_its_record(original: Path) -> None:
    """Without the samples."""
    path = original / "trials/os_tax/micro_add/trial_0.json"
    head = read_head(path)
    assert (head.study, head.variant, head.trial, head.tier) == ("os_tax", "micro_add", 0, "tiny")
    assert not hasattr(head, "samples")


def test_what_is_gone_has_no_hash(tmp_path: Path) -> None:
    """The sentence says that a workflow may be at work."""
    with pytest.raises(RecordError, match="wait for a workflow that runs"):
        file_sha256(tmp_path / "absent")


def test_an_empty_folder_has_no_results(tmp_path: Path) -> None:
    """It says what to do."""
    with pytest.raises(RecordError, match="measure first or pass --results-dir"):
        result_files(tmp_path)


def test_nested_settings_have_dotted_names(root: Path) -> None:
    """And files of the repository are shown relative to it."""
    assert dict(flatten({"a": {"b": 1, "c": [2]}, "d": None})) == {"a.b": 1, "a.c": [2], "d": None}
    assert displayed(root / "config/config.yaml") == "config/config.yaml"
    assert displayed(Path("/nowhere/else")) == "/nowhere/else"
