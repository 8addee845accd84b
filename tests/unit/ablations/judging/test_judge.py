"""The verdicts as a file, from real results: what it holds, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from ablations.cli import main
from ablations.errors import ClaimsError, RecordError
from ablations.judging.claims import DEFAULT_CLAIMS, load_claims
from ablations.judging.judge import judge_files
from ablations.records import read_result


def _inputs(folder: Path) -> list[Path]:
    return sorted(folder.glob("ablation_?.json"))


def test_every_claim_has_a_verdict_and_every_input_its_hash(root: Path, tiny_results: Path, tmp_path: Path) -> None:
    """One invocation reproduces nothing."""
    assert main(["judge", "--inputs", *map(str, _inputs(tiny_results)), "--output", str(tmp_path / "c.json")]) == 0
    judged = read_result(tmp_path / "c.json", "verdicts")
    claims = load_claims(root / DEFAULT_CLAIMS)
    assert [verdict["id"] for verdict in judged["verdicts"]] == [claim.id for claim in claims.claims]
    assert judged["claims_file"]["sha256"] == hashlib.sha256((root / DEFAULT_CLAIMS).read_bytes()).hexdigest()
    for entry in judged["results"]:
        assert entry["sha256"] == hashlib.sha256((tmp_path / entry["file"]).read_bytes()).hexdigest()
    assert sum(judged["counts"].values()) == len(claims.claims)
    assert judged["counts"]["reproduced"] == judged["counts"]["not reproduced"] == 0
    for verdict in judged["verdicts"]:
        if verdict["grade"] == "inconclusive":
            assert verdict["num_invocations_needed"] >= 6


def test_judging_again_gives_the_same_bytes(root: Path, tiny_results: Path, tmp_path: Path) -> None:
    """Whatever the order of the inputs."""
    for name, inputs in (("a", _inputs(tiny_results)), ("b", _inputs(tiny_results)[::-1])):
        judge_files(root / DEFAULT_CLAIMS, inputs, tmp_path / f"{name}.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_study_that_was_left_out_is_not_testable(root: Path, tiny_results: Path, tmp_path: Path) -> None:
    """The others are judged."""
    judge_files(root / DEFAULT_CLAIMS, _inputs(tiny_results)[:3], tmp_path / "c.json")
    judged = read_result(tmp_path / "c.json", "verdicts")
    for verdict in judged["verdicts"]:
        if verdict["study"] == "semantic_signals":
            assert verdict["grade"] == "not testable here"
            assert "no result of study semantic_signals" in verdict["reason"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("full_forward.warm_overhed", "did you mean full_forward.warm_overhead"),
        ("density_gain", "which study os_tax does not measure; study session_arena does"),
        ("happiness", "asks for happiness, which study os_tax does not measure; choose one of"),
    ],
)
def test_a_claim_that_no_study_can_answer_is_refused(
    root: Path, tiny_results: Path, tmp_path: Path, metric: str, message: str
) -> None:
    """With the nearest quantity, or the study that has it."""
    content = yaml.safe_load((root / DEFAULT_CLAIMS).read_text())
    content["claims"][0]["metric"] = metric
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ClaimsError, match=message):
        judge_files(tmp_path / "claims.yaml", _inputs(tiny_results), tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()


def test_results_of_a_newer_schema_are_refused(
    root: Path, tiny_results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, with exit status 2."""
    result = json.loads((tiny_results / "ablation_1.json").read_text()) | {"schema_version": 99}
    (tmp_path / "ablation_1.json").write_text(json.dumps(result))
    with pytest.raises(RecordError, match="schema version 99, .* use the release that wrote it"):
        judge_files(root / DEFAULT_CLAIMS, [tmp_path / "ablation_1.json"], tmp_path / "c.json")
    arguments = ["judge", "--inputs", str(tmp_path / "ablation_1.json"), "--output", str(tmp_path / "c.json")]
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_files_of_the_repository_are_named_within_it_and_others_as_given(
    root: Path, tiny_results: Path, tmp_path: Path
) -> None:
    """A reader elsewhere finds the first; flags of a result go with its verdicts."""
    mine = tmp_path / "claims.yaml"
    mine.write_text((root / DEFAULT_CLAIMS).read_text())
    for claims, name in ((root / DEFAULT_CLAIMS, DEFAULT_CLAIMS), (mine, mine.as_posix())):
        judge_files(claims, _inputs(tiny_results), tmp_path / "c.json")
        judged = read_result(tmp_path / "c.json", "verdicts")
        assert judged["claims_file"]["file"] == name
        assert all("underpowered" in verdict["flags"] for verdict in judged["verdicts"])
