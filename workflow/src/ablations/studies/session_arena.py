"""Ablation 2: what reserving a session's arena costs as its size and the number of live sessions grow.

The memory unit that the server uses is called in this process, so that the call itself is timed and not a socket.
Reserving touches no page; what touching, and giving back, costs is measured beside it, or the number would prove
nothing. Density, sessions that fit one fixed budget, is what smaller arenas buy.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Any

import djinn
from ablations.measurement.interleaving import timer_floor_us
from ablations.measurement.journal import Journal
from ablations.measurement.progress import Progress
from ablations.settings import SessionArena, TrialSettings
from ablations.studies.results import Measured, require

_MIB = 1024**2
# Every session of every size is live at once; the segment is address space only.
_SPARE_FACTOR = 2
# The interpreter specialises code as it runs it; the first calls are slower than any later one.
_WARM_UP_CALLS = 200


def run_trial(settings: TrialSettings, variant: str, seed: int, progress: Progress, journal: Journal) -> Measured:
    """Reserve `sessions` arenas of each size, all live at once, in random order; release them in random order.

    Raises:
        OutOfMemoryError: a reservation that failed fails the trial.
        MeasurementError: a violated invariant of the segment.
    """
    study = settings.study
    assert isinstance(study, SessionArena), "the settings are another study's"
    generator = random.Random(seed)
    capacity_mb = _SPARE_FACTOR * study.sessions * sum(study.arena_sizes_mb)
    vmu = _make_unit(settings.device, capacity_mb)
    _warm_up(vmu, study.arena_sizes_mb)
    sessions = [
        (_name(size_mb, number), size_mb) for size_mb in study.arena_sizes_mb for number in range(study.sessions)
    ]
    generator.shuffle(sessions)
    reserve = _reserve_all(vmu, sessions)
    progress.update(1, 3, "reserved")
    require(vmu.num_sessions == len(sessions), f"{vmu.num_sessions} of {len(sessions)} sessions are live")
    vmu.check_integrity()
    commit = _commit_some(vmu, study, generator)
    committed_bytes = vmu.stats()["data"]["committed_bytes"]
    progress.update(2, 3, "committed")
    release = _release_all(vmu, sessions, {entry["session_id"] for entry in commit}, generator)
    vmu.check_integrity()
    require(vmu.reserved_bytes == 0, f"{vmu.reserved_bytes} bytes stay reserved after every session ended")
    density = [_fill_budget(settings.device, size_mb, study.budget_mb) for size_mb in study.arena_sizes_mb]
    growth = _reserve_many(settings.device, study)
    progress.update(3, 3, "released")
    samples: dict[str, Any] = {
        "reserve": reserve,
        "commit": [{"size_mb": entry["size_mb"], "commit_us": entry["commit_us"]} for entry in commit],
        "release": release,
        "density": density,
        "growth": growth,
        "timer_floor_us": timer_floor_us(),
    }
    checks = {"all_sessions_live": True, "integrity": True, "pages_read_zero_again": True, "nothing_left": True}
    return Measured(
        samples=samples,
        counters={"num_sessions": len(sessions), "committed_bytes_at_most": committed_bytes},
        checks=checks,
    )


def _make_unit(device: str, capacity_mb: int) -> djinn.VirtualMemoryUnit:
    return djinn.VirtualMemoryUnit(djinn.Config(device_type=device, data_capacity_mb=capacity_mb))


def _name(size_mb: int, number: int) -> str:
    """Return a session's name; all have one length, because shorter names, of smaller sizes, took some 10 ns longer."""
    return f"{size_mb:06d}-{number:06d}"


def _timed_us(call: Callable[[], Any]) -> float:
    start_ns = perf_counter_ns()
    call()
    return (perf_counter_ns() - start_ns) / 1e3


def _warm_up(vmu: djinn.VirtualMemoryUnit, sizes_mb: list[int]) -> None:
    for number in range(_WARM_UP_CALLS):
        size_mb = sizes_mb[number % len(sizes_mb)]
        vmu.reserve_session_arena(f"warm-up-{number}", size_mb * _MIB)
        vmu.release_session_arena(f"warm-up-{number}")


def _reserve_all(vmu: djinn.VirtualMemoryUnit, sessions: list[tuple[str, int]]) -> list[dict[str, Any]]:
    entries = []
    for num_live, (session_id, size_mb) in enumerate(sessions):
        arena_bytes = size_mb * _MIB
        start_ns = perf_counter_ns()
        vmu.reserve_session_arena(session_id, arena_bytes)
        end_ns = perf_counter_ns()
        entries.append({"size_mb": size_mb, "num_live": num_live, "reserve_us": (end_ns - start_ns) / 1e3})
    return entries


def _commit_some(vmu: djinn.VirtualMemoryUnit, study: SessionArena, generator: random.Random) -> list[dict[str, Any]]:
    """Touch every page of a few arenas of each size, then give them back and check that the pages read zero again."""
    chosen = [(size_mb, number) for size_mb in study.arena_sizes_mb for number in range(study.commit_samples)]
    generator.shuffle(chosen)
    entries = []
    for size_mb, number in chosen:
        session_id = _name(size_mb, number % study.sessions)
        commit_us = _timed_us(partial(vmu.commit_session_arena, session_id))
        entries.append({"session_id": session_id, "size_mb": size_mb, "commit_us": commit_us})
        _check_zero_after_release(vmu, session_id, size_mb)
    return entries


def _check_zero_after_release(vmu: djinn.VirtualMemoryUnit, session_id: str, size_mb: int) -> None:
    vmu.write_session_arena(session_id, 0, b"\xa5" * 4096)
    vmu.release_session_arena(session_id)
    vmu.reserve_session_arena(session_id, size_mb * _MIB)
    require(not any(vmu.read_session_arena(session_id, 0, 4096)), "an arena's next owner reads its predecessor's bytes")


def _release_all(
    vmu: djinn.VirtualMemoryUnit, sessions: list[tuple[str, int]], committed: set[str], generator: random.Random
) -> list[dict[str, Any]]:
    """Release every arena; those in `committed` are touched again first, since their pages were given back."""
    order = list(sessions)
    generator.shuffle(order)
    entries = []
    for session_id, size_mb in order:
        if session_id in committed:
            vmu.commit_session_arena(session_id)
        release_us = _timed_us(partial(vmu.release_session_arena, session_id))
        entries.append({"size_mb": size_mb, "release_us": release_us, "committed": session_id in committed})
    return entries


def _reserve_many(device: str, study: SessionArena) -> list[dict[str, float]]:
    """Reserve `many_sessions` arenas of the smallest size, all live at once; return what each 1 % of them took."""
    size_mb = min(study.arena_sizes_mb)
    vmu = _make_unit(device, size_mb * study.many_sessions)
    entries = []
    per_step = max(1, study.many_sessions // 100)
    for first in range(0, study.many_sessions, per_step):
        took_us = [
            _timed_us(partial(vmu.reserve_session_arena, f"session-{number}", size_mb * _MIB))
            for number in range(first, min(first + per_step, study.many_sessions))
        ]
        entries.append({"num_live": first, "median_us": statistics.median(took_us), "max_us": max(took_us)})
    require(vmu.num_sessions == study.many_sessions, f"{vmu.num_sessions} of {study.many_sessions} sessions are live")
    vmu.check_integrity()
    vmu.close()
    return entries


def _fill_budget(device: str, size_mb: int, budget_mb: int) -> dict[str, int]:
    """Open sessions of one size until the budget refuses one."""
    vmu = _make_unit(device, budget_mb)
    num_sessions = 0
    try:
        while True:
            vmu.reserve_session_arena(f"session-{num_sessions}", size_mb * _MIB)
            num_sessions += 1
    except djinn.OutOfMemoryError:
        vmu.close()
    return {"size_mb": size_mb, "budget_mb": budget_mb, "sessions": num_sessions}
