"""The stages of the command line that simulate: the workflow's own, a benchmark of the engine, and a replay of given agents."""

from __future__ import annotations

import argparse
import gc
from importlib import import_module
from pathlib import Path
from typing import Any

from ablations.errors import SettingsError
from ablations.settings import Config, given_settings, simulation_settings

# What each way to simulate looks at, beside its own argument.
_TAKEN: dict[str, tuple[str, ...]] = {
    "benchmark": (),
    "traces": ("num_agents",),
    "simulated": ("output",),
    "output": ("settings",),
}
_BENCHMARKED = ("none", "reactive", "lru", "proactive", "proactive_plus")


def add_simulation_stages(stages: Any) -> None:
    """Add the stages `simulate`, `simulation-figure` and `simulation-table`."""
    simulate = stages.add_parser("simulate", help="simulate the signal study in virtual time")
    simulate.add_argument("trials", type=Path, nargs="*", help="live trials of the signal study to validate against")
    simulate.add_argument("--settings", help="JSON of the simulation's settings; default: from the configuration")
    simulate.add_argument("--config", type=Path, action="append", default=[], help="configuration over the default one")
    simulate.add_argument("--output", type=Path, help="the result")
    simulate.add_argument(
        "--simulated", type=Path, help="what was simulated from settings alone, to validate; needs trials"
    )
    simulate.add_argument("--benchmark", type=int, metavar="LIVES", help="time so many agent lives of each policy")
    simulate.add_argument("--traces", type=Path, help="replay the agents of a trace file; needs --num-agents")
    simulate.add_argument("--num-agents", type=int, help="how many agents the trace file holds")
    simulate.set_defaults(run=_simulate)
    figure = stages.add_parser("simulation-figure", help="draw figures of the simulation, each as PDF and PNG")
    figure.add_argument("names", nargs="+", metavar="name")
    add_drawn(figure)
    figure.set_defaults(run=_figure)
    table = stages.add_parser("simulation-table", help="render the simulation's LaTeX table")
    table.add_argument("--output", type=Path, required=True)
    table.set_defaults(run=_table)
    for stage in (figure, table):
        stage.add_argument("--input", type=Path, required=True)


def add_drawn(stage: argparse.ArgumentParser) -> None:
    """Let a stage that draws figures by name say where each goes."""
    stage.add_argument(
        "--output", type=Path, nargs="+", required=True, help="a PDF for each name; each PNG is written beside its PDF"
    )


def drawn(options: argparse.Namespace) -> list[tuple[str, Path]]:
    """Return each figure that is asked for with its PDF.

    Raises:
        SettingsError: not as many files as names.
    """
    if len(options.names) != len(options.output):
        raise SettingsError(
            f"{len(options.names)} figures are to be drawn into {len(options.output)} files; pass one --output for each name."
        )
    return list(zip(options.names, options.output, strict=True))


def _simulate(options: argparse.Namespace) -> None:
    gc.enable()  # a million lives in constant memory
    _refuse_strays(options)
    if options.benchmark is not None:
        _benchmark(_config(options), options.benchmark)
    elif options.traces is not None:
        _replay(_config(options), options.traces, options.num_agents)
    elif options.output is None:
        raise SettingsError(
            "Nothing to simulate: pass --output, or --benchmark LIVES, or --traces FILE with --num-agents."
        )
    elif options.simulated is not None:
        import_module("ablations.simulation.study").validate_files(options.simulated, options.trials, options.output)
    elif options.trials:
        raise SettingsError("Trials validate what was simulated before; pass that file with --simulated.")
    else:
        import_module("ablations.simulation.virtual").simulate_settings(_settings(options), options.output)


def _refuse_strays(options: argparse.Namespace) -> None:
    """Refuse arguments that what is asked for would not look at."""
    asked = next(
        (name for name in ("benchmark", "traces", "simulated") if getattr(options, name) is not None), "output"
    )
    if getattr(options, asked) is None:
        return  # for nothing at all there is a sentence of its own
    for name in ("benchmark", "traces", "num_agents", "simulated", "settings", "output"):
        if getattr(options, name) is not None and name not in (asked, *_TAKEN[asked]):
            raise SettingsError(f"--{name.replace('_', '-')} is of no use with --{asked}; leave one of the two out.")
    if options.trials and asked in ("benchmark", "traces"):
        raise SettingsError(f"Trials are of no use with --{asked}; leave them out.")


def _config(options: argparse.Namespace) -> Config:
    config: Config = import_module("ablations.configuration").load_config(*options.config)
    return config


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    if options.settings is None:
        return simulation_settings(_config(options))
    return given_settings(options.settings)


def _benchmark(config: Config, num_lives: int) -> None:
    if num_lives < 1:
        raise SettingsError(f"--benchmark is {num_lives}, but needs at least one life; pass 100000, say.")
    measure_speed = import_module("ablations.simulation.benchmark").measure_speed
    for policy in _BENCHMARKED:
        print(measure_speed(config.simulation.paper, policy, num_lives).sentence)


def _replay(config: Config, path: Path, num_agents: int | None) -> None:
    if num_agents is None:
        raise SettingsError(f"Trace file {path} needs the number of its agents; pass --num-agents.")
    outcomes = import_module("ablations.simulation.replay").replay_traces(config.simulation.paper, path, num_agents)
    for policy, outcome in outcomes.items():
        print(
            f"{policy} (simulated): {outcome.num_finished} of {outcome.num_agents} agents finished, "
            f"p50 {1e3 * outcome.p50_s:.0f} ms, p99 {1e3 * outcome.p99_s:.0f} ms, "
            f"{outcome.swaps_per_request:.2f} swaps a request, at most {outcome.max_alive} alive"
        )


def _figure(options: argparse.Namespace) -> None:
    for name, output in drawn(options):
        import_module("ablations.rendering.simulation").render_simulation_figure(name, options.input, output)


def _table(options: argparse.Namespace) -> None:
    import_module("ablations.rendering.simulation_table").render_simulation_table(options.input, options.output)
