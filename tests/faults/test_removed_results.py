"""Results that vanish or are cut off under a running workflow: said in a sentence, nothing made from them, a rerun heals."""

from __future__ import annotations

from pathlib import Path

from running import Run

RESULT = "results/tiny/ablation_2.json"
TWO = "{session_arena: 2}"


def _trials(checkout: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in checkout.glob("results/tiny/trials/session_arena/arenas/trial_?.json")}


def _while_the_second_is_measured(checkout: Path) -> tuple[Run, Path]:
    """Return a run that has finished one of two trials and measures the other, and the finished one."""
    run = Run(checkout, RESULT, "--latency-wait", "0", trials=TWO)
    run.await_said("measuring session_arena", count=2)
    (finished,) = _trials(checkout)
    return run, finished


def _assert_a_rerun_heals(checkout: Path, before: dict[Path, bytes]) -> None:
    """Only what is lost is measured again, and the result is made."""
    status, said = Run(checkout, RESULT, trials=TWO).end()
    assert status == 0, said[-3000:]
    assert said.count("measuring session_arena") == 1
    after = _trials(checkout)
    assert len(after) == 2
    assert {path: after[path] for path in before} == before
    assert (checkout / RESULT).exists()


def test_a_trial_that_was_deleted_is_missed_and_measured_again(own_checkout: Path) -> None:
    """By name; Snakemake's own words speak of a slow disk."""
    run, lost = _while_the_second_is_measured(own_checkout)
    lost.unlink()
    status, said = run.end()
    assert status == 1
    (sentence,) = {line for line in said.splitlines() if line.startswith("error:")}
    assert str(lost.relative_to(own_checkout)) in sentence
    assert "run the same command again" in sentence
    assert not (own_checkout / RESULT).exists()
    _assert_a_rerun_heals(own_checkout, _trials(own_checkout))


def test_a_trial_that_was_cut_off_is_refused_until_it_is_deleted(own_checkout: Path) -> None:
    """The sentence names it and says so; what it says helps."""
    run, cut = _while_the_second_is_measured(own_checkout)
    cut.write_bytes(cut.read_bytes()[:500])
    status, said = run.end()
    assert status == 1
    (sentence,) = {line for line in said.splitlines() if line.startswith("error:")}
    assert f"{cut.relative_to(own_checkout)} is not complete JSON" in sentence
    assert "delete it and run its trial again" in sentence
    assert not (own_checkout / RESULT).exists()
    cut.unlink()
    _assert_a_rerun_heals(own_checkout, _trials(own_checkout))
