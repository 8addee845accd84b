"""Trials as they are run: real processes, real measurements, honest records."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ablations.cli import main
from ablations.configuration import load_config
from ablations.records import read_record
from ablations.settings import VARIANTS, trial_settings
from conftest import Run


def _samples(paths: list[Path], variant: str) -> dict[str, Any]:
    return next(read_record(path).samples for path in paths if path.parent.name == variant)


def test_every_check_is_recorded_as_passed(tiny_trials: dict[str, list[Path]]) -> None:
    """Bit-exactness and cache proofs are part of the record."""
    for study, paths in tiny_trials.items():
        assert [path.parent.name for path in paths] == list(VARIANTS[study])
        for path in paths:
            assert read_record(path).checks
    assert "bit_exact" in read_record(tiny_trials["os_tax"][0]).checks


def test_the_breakdown_adds_up(tiny_trials: dict[str, list[Path]]) -> None:
    """Within 5 % of each measured call, warm and cold."""
    for path in tiny_trials["os_tax"]:
        samples = read_record(path).samples
        for arm in ("warm", "cold"):
            parts = samples[f"{arm}_breakdown_us"]
            for number, total_us in enumerate(samples[f"djinn_{arm}_us"]):
                sum_us = sum(parts[part][number] for part in ("serialize", "dispatch", "compute", "result"))
                assert sum_us == pytest.approx(total_us, rel=0.05)


def test_cold_calls_contain_their_simulation(tiny_trials: dict[str, list[Path]]) -> None:
    """A cold call cannot be quicker than what it is said to consist of."""
    samples = _samples(tiny_trials["os_tax"], "full_forward")
    simulated = samples["cold_breakdown_us"]["simulate"]
    assert all(total > part > 0 for total, part in zip(samples["djinn_cold_us"], simulated, strict=True))


def test_every_arena_is_reserved_and_released(tiny_trials: dict[str, list[Path]]) -> None:
    """All sessions are live at once; none was skipped."""
    samples = _samples(tiny_trials["session_arena"], "arenas")
    assert [entry["num_live"] for entry in samples["reserve"]] == list(range(40))
    assert len(samples["release"]) == 40
    assert {entry["size_mb"]: entry["sessions"] for entry in samples["density"]} == {1: 16, 2: 8}


def test_tokens_of_every_arm_are_there(tiny_trials: dict[str, list[Path]]) -> None:
    """One cold token a sequence; dispatch is zero natively and below the token elsewhere."""
    tokens = _samples(tiny_trials["plan_cache"], "decode")["tokens"]
    counts = {
        arm: sum(token["arm"] == arm for token in tokens) for arm in ("cold", "warm", "cache_off", "native", "floor")
    }
    assert counts == {"cold": 2, "warm": 6, "cache_off": 4, "native": 8, "floor": 8}
    for token in tokens:
        assert (token["dispatch_us"] > 0) is (token["arm"] in ("cold", "warm", "cache_off"))
        assert token["dispatch_us"] < token["token_us"]


def test_modes_differ_by_policy_alone(tiny_trials: dict[str, list[Path]]) -> None:
    """Only modes that use signals got any; each evicts, prefetches or keeps clean copies as its policy says, and no more."""
    seeds = {read_record(path).seed for path in tiny_trials["semantic_signals"]}
    assert len(seeds) == 1
    totals = {
        mode: {
            name: sum(probe[name] for probe in _samples(tiny_trials["semantic_signals"], mode)["probes"])
            for name in ("signals", "evictions", "restores", "reclaims", "prefetches")
        }
        for mode in VARIANTS["semantic_signals"]
    }
    for mode in ("none", "reactive", "lru"):
        assert totals[mode]["signals"] == 0
    for mode in ("none", "reactive", "lru", "proactive"):
        assert totals[mode]["reclaims"] == totals[mode]["prefetches"] == 0
    assert all(totals[mode]["evictions"] > 0 for mode in ("reactive", "lru", "proactive", "proactive_plus"))
    assert totals["proactive"]["signals"] > 0
    assert totals["proactive_plus"]["reclaims"] == totals["proactive_plus"]["evictions"]
    assert not any(totals["none"].values())


def test_requests_consist_of_what_is_measured_of_them(tiny_trials: dict[str, list[Path]]) -> None:
    """Restoring, queueing and computing lie within a request; waits were verified where sessions leave memory."""
    for mode in VARIANTS["semantic_signals"]:
        samples = _samples(tiny_trials["semantic_signals"], mode)
        for probe in samples["probes"]:
            parts = zip(
                probe["request_restore_ms"], probe["request_queue_ms"], probe["request_compute_ms"], strict=True
            )
            for latency_ms, (restore_ms, queue_ms, compute_ms) in zip(probe["request_latency_ms"], parts, strict=True):
                assert restore_ms + queue_ms + compute_ms <= latency_ms
        assert (samples["warmup"]["checksums_compared"] > 0) is (samples["warmup"]["num_requests"] > 0)


def test_littles_law_holds(tiny_trials: dict[str, list[Path]]) -> None:
    """The mean number alive is the rate of arrivals times the mean life."""
    for mode in VARIANTS["semantic_signals"]:
        for probe in _samples(tiny_trials["semantic_signals"], mode)["probes"]:
            assert probe["mean_alive"] == pytest.approx(probe["little_alive"], rel=0.01)


def test_running_out_of_memory_is_a_datum(tiny_trials: dict[str, list[Path]]) -> None:
    """Without eviction the device holds its slots and no more; the trial does not crash."""
    samples = _samples(tiny_trials["semantic_signals"], "none")
    slots = load_config().studies.semantic_signals.slots
    failed = [probe for probe in samples["probes"] if probe["num_agents"] > slots]
    assert failed
    assert all(probe["outcome"] == "out_of_memory" and probe["oom_agents"] > 0 for probe in failed)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"device": "cuda"}, {}, "Setting device is 'cuda', but torch finds no CUDA device"),
        ({}, {"--variant": "nonsense"}, "Study session_arena has no variant 'nonsense'; choose one of arenas"),
        ({}, {"--trial": "-1"}, "Trial -1 does not exist"),
        ({"studies": 3}, {}, "do not fit"),
        ({"threads": "two"}, {}, "do not fit (Expected `int | null`, got `str` - at `$.threads`)"),
        ({"study": None}, {}, "do not fit (Expected `object`, got `null`)"),
    ],
)
def test_a_trial_that_cannot_be_run_says_why(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    arguments: dict[str, str],
    message: str,
) -> None:
    """One sentence, status 2, no file."""
    settings = trial_settings(load_config(), "session_arena") | change
    flags = {"--study": "session_arena", "--variant": "arenas", "--trial": "0"} | arguments
    flags |= {"--settings": json.dumps(settings), "--output": str(tmp_path / "out.json")}
    assert main(["trial", *[word for pair in flags.items() for word in pair]]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.splitlines()[-1].startswith("error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("trial --study os_tax --variant nonsense --trial 0 --output {folder}/out.json", "has no variant 'nonsense'"),
        ("aggregate --study os_tax --output {folder}/out.json {folder}/trials/trial_0.json", "does not exist; run the"),
    ],
)
def test_what_cannot_be_run_ends_the_command_and_its_server(
    run_cli: Run, tmp_path: Path, command: str, message: str
) -> None:
    """Through the command line as users call it: a sentence, no file, and no server that was launched meanwhile."""
    (tmp_path / "tmp").mkdir()
    arguments = command.format(folder=tmp_path).split()
    finished = run_cli("-m", "ablations", *arguments, TMPDIR=str(tmp_path / "tmp"))
    assert finished.returncode == 2
    (sentence,) = finished.stderr.splitlines()
    assert sentence.startswith("error: ")
    assert message in sentence
    assert {path.name for path in tmp_path.iterdir()} == {"tmp"}
    deadline_s = time.monotonic() + 60
    while any(path.name.startswith("djinn-") and path.is_dir() for path in (tmp_path / "tmp").iterdir()):
        assert time.monotonic() < deadline_s, "the server that was launched is still there"
        time.sleep(0.05)
