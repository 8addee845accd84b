"""What exists, what is stale and why, what is left, and what to run next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ablations.errors import RecordError
from ablations.provenance.status import status

TINY = Path(__file__).resolve().parents[3] / "tiny.yaml"
TRIAL = "trials/os_tax/micro_add/trial_0.json"


def _status(results: Path) -> str:
    return "\n".join(status([TINY], results))


def test_a_finished_run_has_nothing_left(original: Path) -> None:
    """All trials are current, all results, and the ledger."""
    text = _status(original)
    assert text.count("is current") == 4
    assert "ledger: current, " in text
    assert "left to measure: nothing" in text
    assert "0 stale, 0 missing" in text


def test_a_file_is_no_folder_of_results() -> None:
    """It would be told to measure into it."""
    with pytest.raises(RecordError, match="tiny.yaml are no folder"):
        _status(TINY)


def test_an_interrupted_run_says_what_is_left(whole: Path) -> None:
    """By variant, with a duration, and how to go on."""
    (whole / TRIAL).unlink()
    (whole / "ablation_1.json").unlink()
    text = _status(whole)
    assert "os_tax: 3 of 4 trials current, 0 stale, 1 missing; ablation_1.json is not aggregated yet" in text
    assert "missing: micro_add 0" in text
    assert "left to measure: 1 trials, about " in text
    assert f"next: python workflow/scripts/run_all_ablations.py --output-dir {whole} --config tests/tiny.yaml" in text


def test_a_killed_trial_says_where_it_goes_on(whole: Path) -> None:
    """Its journal holds the steps that are finished; a finished trial's says nothing."""
    trial = whole / "trials/semantic_signals/lru/trial_0.json"
    trial.unlink()
    trial.with_suffix(".journal.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    (whole / "trials/semantic_signals/none/trial_0.journal.jsonl").write_text('{"step": 1}\n')
    assert "interrupted: none" not in _status(whole)
    assert "interrupted: lru, trial 0, goes on after 2 steps that it had finished" in _status(whole)


def test_stale_trials_have_their_reason(whole: Path, edit: Any) -> None:
    """Code, settings, machine, damage; the result that was made from them is stale too."""
    edit(whole / TRIAL, lambda record: record.update(sources_sha256="0" * 64))
    edit(whole / "trials/plan_cache/decode/trial_0.json", lambda r: r["settings"]["study"].update(tokens=3))
    edit(whole / "trials/session_arena/arenas/trial_0.json", lambda r: r["environment"].update(python="2.7"))
    (whole / "trials/semantic_signals/lru/trial_0.json").write_text("{")
    text = _status(whole)
    assert "stale: micro_add 0: made by other code" in text
    assert "stale: decode 0: other settings than tests/tiny.yaml (study.tokens is 3, now 4)" in text
    assert "stale: arenas 0: measured on another machine (python is 2.7, here " in text
    assert "trial_0.json is no whole trial record" in text
    assert text.count("is stale, because trials are") == 4
    assert "left to measure: 4 trials" in text


def test_more_trials_than_were_aggregated_make_the_result_stale(whole: Path, edit: Any) -> None:
    """Although every trial is current."""
    edit(whole / "ablation_1.json", lambda result: result["trials"].pop())
    assert "ablation_1.json is stale: made from 3 trials of 4" in _status(whole)


def test_a_trial_that_changed_since_makes_the_result_stale(whole: Path, edit: Any) -> None:
    """By its hash."""
    edit(whole / TRIAL, lambda record: record.update(duration_s=1.0))
    assert "ablation_1.json is stale: 1 trials changed since" in _status(whole)


def test_a_ledger_that_is_behind_is_said_so(whole: Path) -> None:
    """Verify knows the names."""
    (whole / "ablation_cache_table.tex").unlink()
    with (whole / "ablation_numbers.tex").open("a") as file:
        file.write("% more\n")
    assert "ledger: 1 files lost, 1 not what it says" in _status(whole)


def test_nothing_at_all_is_a_status_too(tmp_path: Path) -> None:
    """A new checkout: everything is missing."""
    text = _status(tmp_path)
    assert "left to measure: 11 trials" in text
    assert "ledger: not written yet" in text


def test_the_command_answers_without_torch(original: Path, run_cli: Any, tmp_path: Path) -> None:
    """Made unimportable, like pandas and SciPy; otherwise it would take seconds."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'pandas', 'scipy', 'matplotlib'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    for stage in (["status", "--config", TINY, "--results-dir", original], ["doctor"]):
        answered = run_cli("-m", "ablations", *stage, PYTHONPATH=path)
        assert answered.returncode in (0, 1), answered.stderr
        assert answered.stderr == ""


def test_a_file_that_vanishes_meanwhile_is_no_crash(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running workflow removes what it makes again."""

    def vanished(path: Path) -> str:
        raise RecordError(f"Result {path} cannot be read")

    monkeypatch.setattr("ablations.provenance.status.file_sha256", vanished)
    text = _status(whole)
    assert "ledger: 0 files lost, " in text
    assert "is stale: 4 trials changed since" in text
