"""A journal gives back what was measured, and nothing that belongs to something else."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ablations.errors import RecordError
from ablations.measurement.journal import Journal


def _fail() -> None:
    raise AssertionError("measured again")


def test_a_killed_trial_goes_on_where_it_was(tmp_path: Path) -> None:
    """Finished steps are not measured again."""
    path = tmp_path / "journal.jsonl"
    first = Journal(path, "key")
    assert first.step("a", lambda: {"value": 1}) == {"value": 1}
    first.step("b", lambda: [2.5])
    second = Journal(path, "key")
    assert second.num_known == 2
    assert second.step("a", _fail) == {"value": 1}
    assert second.step("b", _fail) == [2.5]
    assert second.step("c", lambda: 3) == 3
    assert Journal(path, "key").num_known == 3


def test_other_settings_start_anew(tmp_path: Path) -> None:
    """What was measured under another key is of no use, and does not come back."""
    path = tmp_path / "journal.jsonl"
    Journal(path, "old").step("a", lambda: 1)
    journal = Journal(path, "new")
    assert journal.num_known == 0
    assert journal.step("a", lambda: 2) == 2
    assert Journal(path, "old").num_known == 0
    assert Journal(path, "new").num_known == 1


def test_a_line_that_was_cut_off_is_ignored(tmp_path: Path) -> None:
    """Its step is measured again."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "key")
    journal.step("a", lambda: 1)
    journal.step("b", lambda: 2)
    path.write_text(path.read_text()[:-5])
    again = Journal(path, "key")
    assert again.num_known == 1
    assert again.step("a", _fail) == 1
    assert again.step("b", lambda: 5) == 5
    assert Journal(path, "key").num_known == 2


def test_another_course_drops_what_followed(tmp_path: Path) -> None:
    """A search that takes another turn cannot use the probes of the old one."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "key")
    for name in ("a", "b", "c"):
        journal.step(name, lambda: 1)
    again = Journal(path, "key")
    again.step("a", _fail)
    assert again.step("x", lambda: 9) == 9
    assert Journal(path, "key").num_known == 2


def test_results_are_what_json_keeps(tmp_path: Path) -> None:
    """The same before and after a restart: a tuple is a list at once."""
    assert Journal(tmp_path / "journal.jsonl", "key").step("a", lambda: (1, 2)) == [1, 2]


def test_the_last_step_is_found_by_its_name_alone(tmp_path: Path) -> None:
    """A record that was written to the journal is not measured again; one that was not, is."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "key")
    journal.step("a", lambda: 1)
    assert Journal(path, "key").last("record") is None
    journal.step("record", lambda: {"x": 2})
    assert Journal(path, "key").last("record") == {"x": 2}
    assert Journal(path, "other").last("record") is None


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    """As where a study is measured by hand."""
    Journal(None, "key").step("a", lambda: 1)
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_is_no_step_ends_what_is_known(tmp_path: Path) -> None:
    """As a disk leaves it that lost a block; what stands before it is used."""
    path = tmp_path / "journal.jsonl"
    Journal(path, "key").step("a", lambda: 1)
    with path.open("a") as file:
        file.write("\0\0\0\n")
    journal = Journal(path, "key")
    assert journal.num_known == 1
    assert journal.step("a", _fail) == 1
    journal.step("b", lambda: 2)
    assert Journal(path, "key").num_known == 2


def test_a_step_that_does_not_fit_the_disk_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, byte for byte."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "key")
    journal.step("a", lambda: 1)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RecordError, match="No space left on device"):
        journal.step("b", lambda: 2)
    assert path.read_bytes() == before
