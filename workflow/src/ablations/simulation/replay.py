"""Given agents in virtual time: what a trace file's agents meet under each policy on the paper's device."""

from __future__ import annotations

from pathlib import Path

from ablations.simulation.paper import paper_scenario
from ablations.simulation.runs import Outcome, run_traces
from ablations.simulation.scenario import ORACLE, POLICIES
from ablations.simulation_settings import PaperDevice
from ablations.traces import read_traces


def replay_traces(paper: PaperDevice, path: Path, num_agents: int) -> dict[str, Outcome]:
    """Simulate the agents of a trace file with every policy and the oracle; each does as many phases as configured.

    Args:
        paper: the device and the phases' times.
        path: of the trace file.
        num_agents: that it is said to hold.

    Raises:
        SettingsError: a trace file that cannot be used.
    """
    traces = read_traces(path, num_agents)
    return {
        policy: run_traces(paper_scenario(paper, policy, has_pool_limit=True), iter(traces), is_together=False)
        for policy in (*POLICIES, ORACLE)
    }
