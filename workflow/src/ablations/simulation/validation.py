"""Validation: the live trials of the signal study, simulated again with the times that each of them measured."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Any

from ablations.errors import RecordError
from ablations.records import TrialRecord
from ablations.simulation.runs import largest_crowd, run_together
from ablations.simulation.scenario import ORACLE, Scenario
from ablations.traces import repetition_seed

STUDY = "semantic_signals"


def simulate_trials(records: list[TrialRecord]) -> dict[str, Any]:
    """Simulate every live trial: same policy, arrivals and waits, with its measured service and swap times.

    Returns:
        `agents`: for each trial, the largest number of agents alive at once, live and simulated; `probes`: for each
        probe of it, p99 of latency; `oracle_agents`, what perfect knowledge of the resumes would sustain; and the medians
        of the absolute errors in percent. None where nothing compares.

    Raises:
        RecordError: a record is of another study, or lacks its calibration.
    """
    agents: list[dict[str, Any]] = []
    probes: list[dict[str, Any]] = []
    for record in records:
        scenario = live_scenario(record)
        start = {"policy": record.variant, "trial": record.trial}
        agents.append({**start, **_compare_agents(record, scenario)})
        probes.extend({**start, **_compare_probe(probe, record, scenario)} for probe in record.samples["probes"])
    return {
        "agents": agents,
        "probes": probes,
        "oracle_agents": _oracle_agents(records),
        "median_abs_error_agents_pct": _median_abs([row["error_pct"] for row in agents]),
        "median_abs_error_p99_pct": _median_abs([row["error_pct"] for row in probes]),
    }


def live_scenario(record: TrialRecord) -> Scenario:
    """Return the scenario that a live trial measured.

    Raises:
        RecordError: the record is of another study or lacks part of its calibration.
    """
    if record.study != STUDY:
        raise RecordError(
            f"Trial {record.trial} of {record.variant} is of study {record.study}, not {STUDY}; pass trials of that study."
        )
    try:
        return _scenario(record)
    except KeyError as error:
        raise RecordError(
            f"Trial {record.trial} of {record.variant} lacks {error}; delete it and measure it again with this release."
        ) from error


def _scenario(record: TrialRecord) -> Scenario:
    measured = record.samples["calibration"]
    # The server keeps a session busy for the pace while others compute; what the client sees beyond is on the way.
    pace_s = measured["pace_s"]
    gap_s = max(0.0, measured["step_s"] - pace_s) if pace_s else 0.0
    plain = ("swap_out_s", "swap_in_s", "wait_min_s", "wait_max_s", "estimate_error")
    steady_phases = record.settings["study"]["steady_phases"]
    return Scenario(
        policy=record.variant,
        slots=round(measured["slots"]),
        host_slots=round(measured["host_slots"]),
        num_processors=None if pace_s else 1,
        # On a machine that is busy the two were not measured alike, and their difference may be negative.
        prefill_s=max(0.0, measured["prefill_s"] - gap_s),
        step_s=measured["step_s"] - gap_s,
        gap_s=gap_s,
        steps=round(measured["steps"]),
        phases=1 + steady_phases,
        steady_phases=steady_phases,
        # A trial that did not measure what a change takes is simulated with whole copies: an upper bound.
        delta_out_s=measured.get("delta_out_s", measured["swap_out_s"]),
        **{name: measured[name] for name in (*plain, "idle_timeout_s", "arrivals_per_s", "latency_objective_s")},
    )


def _oracle_agents(records: list[TrialRecord]) -> float | None:
    """Return the median, over the trials of the policy that makes the most of estimates, of its agents with exact ones."""
    found = [
        largest_crowd(
            replace(live_scenario(record), policy=ORACLE),
            record.seed,
            resolution=0.0,
            start=max(1, record.samples["boundary"]["middle"]),
        )
        for record in records
        if record.variant == "proactive_plus"
    ]
    return float(median(found)) if found else None


def _compare_agents(record: TrialRecord, scenario: Scenario) -> dict[str, Any]:
    boundary = record.samples["boundary"]
    live = boundary["middle"]
    simulated = largest_crowd(scenario, record.seed, resolution=0.0, start=max(1, live))
    return {
        "live": live,
        "live_largest_success": boundary["largest_success"],
        "live_smallest_failure": boundary["smallest_failure"],
        "simulated": simulated,
        "error_pct": _error_pct(simulated, live),
    }


def _compare_probe(probe: dict[str, Any], record: TrialRecord, scenario: Scenario) -> dict[str, Any]:
    seed = repetition_seed(record.seed, probe["repetition"])
    outcome = run_together(scenario, probe["num_agents"], seed)
    # A probe that was broken off has no tail to compare.
    has_tail = outcome.outcome != "out_of_memory" and probe["outcome"] in ("success", "latency")
    return {
        "num_agents": probe["num_agents"],
        "repetition": probe["repetition"],
        "live_outcome": probe["outcome"],
        "simulated_outcome": outcome.outcome,
        "live_p99_ms": probe["p99_ms"],
        "simulated_p99_ms": 1e3 * outcome.p99_s,
        "error_pct": _error_pct(1e3 * outcome.p99_s, probe["p99_ms"]) if has_tail else None,
    }


def _error_pct(simulated: float, live: float) -> float | None:
    return 100 * (simulated / live - 1) if live else None


def _median_abs(errors_pct: list[float | None]) -> float | None:
    known = [abs(error_pct) for error_pct in errors_pct if error_pct is not None]
    return median(known) if known else None
