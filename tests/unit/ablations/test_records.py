"""Result files are complete or absent, and anything else is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablations.errors import RecordError
from ablations.records import read_record, read_result, write_json, write_record


def test_a_record_survives_the_disk(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """What was written is what is read, byte for byte."""
    for path in (paths[0] for paths in tiny_trials.values()):
        copy = tmp_path / "copy.json"
        write_record(copy, read_record(path))
        assert copy.read_bytes() == path.read_bytes()


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(RecordError, match=r"absent.json does not exist; run the rule or script"):
        read_record(tmp_path / "absent.json")


def test_a_truncated_file_is_refused(tiny_trials: dict[str, list[Path]], tmp_path: Path) -> None:
    """A cut anywhere is noticed."""
    whole = tiny_trials["plan_cache"][0].read_text()
    path = tmp_path / "cut.json"
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        path.write_text(whole[:length])
        with pytest.raises(RecordError, match=r"cut.json"):
            read_record(path)


@pytest.mark.parametrize(("version", "remedy"), [(99, "use the release that wrote it"), (0, "run its trial again")])
def test_another_version_is_refused(
    tiny_trials: dict[str, list[Path]], tmp_path: Path, version: int, remedy: str
) -> None:
    """Newer and older files have different remedies."""
    content = json.loads(tiny_trials["plan_cache"][0].read_text()) | {"schema_version": version}
    write_json(tmp_path / "other.json", content)
    with pytest.raises(RecordError, match=remedy):
        read_record(tmp_path / "other.json")


@pytest.mark.parametrize("content", [b"NaN", b'{"schema_version": NaN}', b'{"a": "\xff"}', b"\x00"])
def test_what_json_does_not_know_is_refused(content: bytes, tmp_path: Path) -> None:
    """Python's own reader would take numbers that are none, which compare with nothing."""
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"odd.json is not complete JSON .*; delete it and run its trial again"):
        read_record(tmp_path / "odd.json")


@pytest.mark.parametrize("number", [b"1" + b"0" * 309, b"-" + b"7" * 4000, b"9" * 10_000])
def test_a_number_beyond_floats_is_refused(number: bytes, tmp_path: Path) -> None:
    """A schema calls it one, and whoever computes with it would say only that it is too large."""
    path = tmp_path / "large.json"
    path.write_bytes(b'{"schema_version": 1, "duration_s": %s}' % number)
    with pytest.raises(RecordError, match=rf"Result {path} .*; delete it and run its trial again"):
        read_record(path)
    with pytest.raises(RecordError, match="no float can|out of range"):
        read_record(path)


@pytest.mark.parametrize("opening", ["[", '{"a": '])
def test_nesting_without_end_is_refused(opening: str, tmp_path: Path) -> None:
    """By name, where Python's stack ends."""
    (tmp_path / "deep.json").write_text(opening * 100_000)
    with pytest.raises(RecordError, match=r"deep.json is not complete JSON .*; delete it and run the workflow again"):
        read_result(tmp_path / "deep.json", "aggregated")


@pytest.mark.parametrize("damaged", [b"{", b'{"schema_version": 0}', b'{"schema_version": 1}'])
def test_a_result_that_is_no_trial_is_made_again_by_the_workflow(damaged: bytes, tmp_path: Path) -> None:
    """No trial makes an aggregate or a verdict."""
    (tmp_path / "claims.json").write_bytes(damaged)
    with pytest.raises(RecordError, match="delete it and run the workflow again"):
        read_result(tmp_path / "claims.json", "verdicts")


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("seed"),
        lambda record: record.update(surprise=1),
        lambda record: record["samples"].update(tokens=[]),
        lambda record: record["samples"]["tokens"][0].update(token_us=-1.0),
        lambda record: record["samples"]["tokens"][0].update(arm="tepid"),
        lambda record: record["checks"].update(bit_exact=False),
        lambda record: record.update(study="os_tax"),
        lambda record: record["environment"].pop("machine_id"),
    ],
)
def test_a_record_of_another_shape_is_refused(
    tiny_trials: dict[str, list[Path]], tmp_path: Path, damage: object
) -> None:
    """The schema has no loose ends: missing, unknown, negative, unverified, of another study."""
    record = json.loads(tiny_trials["plan_cache"][0].read_text())
    damage(record)  # type: ignore[operator]
    write_json(tmp_path / "damaged.json", record)
    with pytest.raises(RecordError, match="damaged.json does not fit schema trial_record"):
        read_record(tmp_path / "damaged.json")


def test_a_trial_is_no_aggregate(tiny_trials: dict[str, list[Path]]) -> None:
    """Kinds of results are told apart."""
    with pytest.raises(RecordError, match="does not fit schema aggregated"):
        read_result(tiny_trials["plan_cache"][0], "aggregated")
