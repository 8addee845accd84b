"""Mutated measurements under every claim at once: swapped arms, identical arms, shuffled labels, simulated data.

Samples are synthetic, with a truth that reproduces every claim that can be judged, on the hardware that the claims
speak of; so each mutation has something to destroy. They are laid into real records, which have the rest.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from ablations.judging.claims import DEFAULT_CLAIMS, load_claims
from ablations.judging.grades import Grade
from ablations.judging.verdicts import judge_claim
from ablations.settings import STUDIES, VARIANTS

CLAIMS = load_claims(Path(__file__).resolve().parents[4] / DEFAULT_CLAIMS).claims
INVOCATIONS, BLOCK, ROUNDS = 8, 5, 20
SIZES_MB = (64, 128, 256, 300)
# True values: native and warm latency of each scale in us, time of a token in ms, agents and p99 of each mode.
SCALES = {
    "micro_add": (4.0, 80.0),
    "layer_one_token": (2000.0, 2040.0),
    "transformer_layer": (2e4, 2.02e4),
    "full_forward": (1e5, 1.002e5),
}
TOKENS_MS = {"cold": 30.0, "warm": 2.0, "cache_off": 20.0, "native": 1.9, "native_again": 1.9}
MODES = {"none": (300, 900.0), "lru": (800, 500.0), "reactive": (1000, 400.0), "proactive": (1685, 200.0)}

Mutation = Callable[[str, dict[str, dict[str, Any]], random.Random], None]


def _noisy(generator: np.random.Generator, truth: float, count: int, drift: float = 1.0) -> list[float]:
    return list(truth * drift * generator.lognormal(0, 0.002, count))


def _lay_os_tax(samples: dict[str, dict[str, Any]], generator: np.random.Generator) -> None:
    for scale, one in samples.items():
        native, warm = SCALES[scale]
        drift = generator.lognormal(0, 0.2)
        one["block"] = BLOCK
        for arm, truth in (("native_us", native), ("native_again_us", native), ("djinn_warm_us", warm)):
            one[arm] = _noisy(generator, truth, BLOCK * ROUNDS, drift)
        one["lead_in_us"] = {arm: one[f"{arm}_us"][::BLOCK] for arm in ("native", "djinn_warm")}


def _lay_session_arena(samples: dict[str, dict[str, Any]], generator: np.random.Generator) -> None:
    rows = [(size, number) for size in SIZES_MB for number in range(40)]
    one = samples["arenas"]
    reserve = _noisy(generator, 20.0, len(rows))
    one["reserve"] = [
        {"size_mb": size, "reserve_us": value, "num_live": number}
        for number, ((size, _), value) in enumerate(zip(rows, reserve, strict=True))
    ]
    one["commit"] = [{"size_mb": size, "commit_us": 1e3 * size * generator.lognormal(0, 0.02)} for size, _ in rows]
    one["release"] = [
        {"size_mb": size, "committed": touched, "release_us": 3.0} for size in SIZES_MB for touched in (True, False)
    ]
    one["density"] = [{"size_mb": size, "sessions": 8192 // size} for size in SIZES_MB]


def _lay_plan_cache(samples: dict[str, dict[str, Any]], generator: np.random.Generator) -> None:
    one = samples["decode"]
    drift = generator.lognormal(0, 0.1)
    template = one["tokens"][0]
    one["tokens"] = [
        {**template, "arm": arm, "token": number, "token_us": value, "dispatch_us": value / 2}
        for arm, truth in (TOKENS_MS | {"floor": 0.1}).items()
        for number, value in enumerate(_noisy(generator, 1e3 * truth, 40, drift))
    ]


def _lay_semantic_signals(samples: dict[str, dict[str, Any]], generator: np.random.Generator) -> None:
    for mode, one in samples.items():
        agents, p99_ms = MODES.get(mode, MODES["proactive"])
        found = round(agents * generator.lognormal(0, 0.001))
        one["boundary"] = {"largest_success": found, "smallest_failure": found + 1}
        one["common"] |= {"outcome": "success", "request_latency_ms": _noisy(generator, p99_ms, 200)}


LAY = {
    "os_tax": _lay_os_tax,
    "session_arena": _lay_session_arena,
    "plan_cache": _lay_plan_cache,
    "semantic_signals": _lay_semantic_signals,
}


def _swap(study: str, samples: dict[str, dict[str, Any]], _: random.Random) -> None:
    """Give each arm the other's numbers."""
    if study == "os_tax":
        for one in samples.values():
            one["native_us"], one["djinn_warm_us"] = one["djinn_warm_us"], one["native_us"]
    elif study == "session_arena":
        one, other = samples["arenas"], dict(zip(SIZES_MB, reversed(SIZES_MB), strict=True))
        for reserved, committed in zip(one["reserve"], one["commit"], strict=True):
            reserved["reserve_us"], committed["commit_us"] = committed["commit_us"], reserved["reserve_us"]
        for row in (*one["reserve"], *one["commit"], *one["density"]):
            row["size_mb"] = other[row["size_mb"]]
    elif study == "plan_cache":
        other_arm = {"cold": "warm", "warm": "cold", "cache_off": "warm"}
        for row in samples["decode"]["tokens"]:
            row["token_us"] = 1e3 * (TOKENS_MS | {"floor": 0.1})[other_arm.get(row["arm"], row["arm"])]
    else:
        samples["none"], samples["proactive"] = samples["proactive"], samples["none"]


def _make_identical(study: str, samples: dict[str, dict[str, Any]], generator: random.Random) -> None:
    """Put one arm, measured again, in place of every arm: nothing differs but noise."""
    if study == "os_tax":
        for one in samples.values():
            one["djinn_warm_us"] = one["native_again_us"]
    elif study == "session_arena":
        one = samples["arenas"]
        for reserved, committed in zip(one["reserve"], one["commit"], strict=True):
            committed["commit_us"] = reserved["reserve_us"] * generator.uniform(0.999, 1.001)
        for row in one["density"]:
            row["sessions"] = 27
    elif study == "plan_cache":
        for row in samples["decode"]["tokens"]:
            row["token_us"] = 1e3 * TOKENS_MS["native"] * generator.uniform(0.999, 1.001)
    else:
        for mode in samples:
            samples[mode] = copy.deepcopy(samples["reactive"])
            samples[mode]["common"]["request_latency_ms"] = [
                value * generator.uniform(0.999, 1.001) for value in samples[mode]["common"]["request_latency_ms"]
            ]


def _shuffle(study: str, samples: dict[str, dict[str, Any]], generator: random.Random) -> None:
    """Hand every measured number to an arm at random."""
    if study == "os_tax":
        for one in samples.values():
            pooled = one["native_us"] + one["djinn_warm_us"]
            generator.shuffle(pooled)
            one["native_us"], one["djinn_warm_us"] = pooled[: BLOCK * ROUNDS], pooled[BLOCK * ROUNDS :]
    elif study == "session_arena":
        one = samples["arenas"]
        pooled = [row["reserve_us"] for row in one["reserve"]] + [row["commit_us"] for row in one["commit"]]
        generator.shuffle(pooled)
        for name, column in (("reserve", "reserve_us"), ("commit", "commit_us")):
            for row in one[name]:
                row[column] = pooled.pop()
        sessions = [row["sessions"] for row in one["density"]]
        generator.shuffle(sessions)
        for row, number in zip(one["density"], sessions, strict=True):
            row["sessions"] = number
    elif study == "plan_cache":
        tokens = samples["decode"]["tokens"]
        times = [row["token_us"] for row in tokens]
        generator.shuffle(times)
        for row, value in zip(tokens, times, strict=True):
            row["token_us"] = value
    else:
        held = list(samples.values())
        generator.shuffle(held)
        samples.update(zip(list(samples), held, strict=True))


def _leave(study: str, samples: dict[str, dict[str, Any]], _: random.Random) -> None:
    """Change nothing."""


@pytest.fixture(scope="module")
def templates(tiny_trials: dict[str, list[Path]]) -> dict[str, dict[str, Any]]:
    """A real record of every variant, by study and variant."""
    return {
        study: {path.parent.name: json.loads(path.read_text()) for path in paths}
        for study, paths in tiny_trials.items()
    }


@pytest.fixture(scope="module")
def judge(templates: dict[str, dict[str, Any]]) -> Callable[..., dict[str, Grade]]:
    """Judge every claim on synthetic samples after a mutation; what is estimated of them is judged under any flags."""
    estimated = cache(lambda study, mutate: msgspec.to_builtins(_summarise(study, templates[study], mutate)))

    def judged(mutate: Mutation, flags: tuple[str, ...] = ()) -> dict[str, Grade]:
        grades = {}
        for study in STUDIES:
            result = {
                "flags": list(flags),
                "environment": {"accelerator": "NVIDIA H100 80GB HBM3"},
                "quantities": estimated(study, mutate),
            }
            grades |= {claim.id: judge_claim(claim, result).grade for claim in CLAIMS if claim.study == study}
        return grades

    return judged


def _summarise(study: str, template: dict[str, Any], mutate: Mutation) -> dict[str, Any]:
    generator, shuffler = np.random.default_rng(5), random.Random(7)
    invocations = []
    for _ in range(INVOCATIONS):
        samples = {variant: copy.deepcopy(template[variant]["samples"]) for variant in VARIANTS[study]}
        LAY[study](samples, generator)
        mutate(study, samples, shuffler)
        invocations.append(samples)
    trials = SimpleNamespace(
        study=study,
        variants=sorted(VARIANTS[study]),
        settings={**next(iter(template.values()))["settings"]["study"], "arena_sizes_mb": list(SIZES_MB)},
        samples=lambda variant: [one[variant] for one in invocations],
    )
    quantities: dict[str, Any] = import_module(f"ablations.analysis.{study}").summarise(trials)[0]
    return quantities


def test_what_is_mutated_was_reproduced(judge: Callable[..., dict[str, Grade]]) -> None:
    """Every claim, but for those that the document itself decides."""
    decided = {claim.id for claim in CLAIMS if claim.contradiction is not None and claim.contradiction.grade}
    assert {name for name, grade in judge(_leave).items() if grade != Grade.REPRODUCED} == decided


@pytest.mark.parametrize("mutate", [_swap, _make_identical, _shuffle])
def test_mutated_measurements_reproduce_nothing(judge: Callable[..., dict[str, Grade]], mutate: Mutation) -> None:
    """Not one claim of them all, whatever it compares."""
    assert [name for name, grade in judge(mutate).items() if grade == Grade.REPRODUCED] == []


def test_simulated_measurements_reproduce_nothing(judge: Callable[..., dict[str, Grade]]) -> None:
    """The same numbers, marked."""
    grades = judge(_leave, flags=("simulated",))
    assert Grade.REPRODUCED not in grades.values()
    assert Grade.DIRECTION_ONLY in grades.values()
