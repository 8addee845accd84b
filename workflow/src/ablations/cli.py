"""The command line: `python -m ablations <stage>`, one subcommand for each stage of the workflow."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ablations.errors import AblationError, SettingsError, refused_by_system
from ablations.provenance_stages import add_provenance_stages
from ablations.settings import MEASURABLE, generate_schema, given_settings, repository_root, trial_settings
from ablations.simulation_stages import add_drawn, add_simulation_stages, drawn
from djinn.errors import DjinnError


def main(arguments: list[str] | None = None) -> int:
    """Run one stage and return the exit status; errors that a user can mend are one sentence and status 2."""
    options = _parser().parse_args(arguments)
    try:
        # Stages that examine something return 1 if they found anything; the others return nothing.
        status: int | None = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # no error: whoever read has had enough
    except OSError as error:
        print(f"error: {refused_by_system(error)}", file=sys.stderr)
        return 2
    except (AblationError, DjinnError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ablations", description=__doc__)
    stages = parser.add_subparsers(required=True, metavar="STAGE")
    trial = stages.add_parser("trial", help="measure one trial")
    trial.add_argument("--study", required=True, choices=MEASURABLE)
    trial.add_argument("--variant", required=True)
    trial.add_argument("--trial", type=int, required=True)
    trial.add_argument("--settings", help="JSON of the trial's settings; default: from the configuration")
    trial.add_argument("--config", type=Path, action="append", default=[], help="configuration over the default one")
    trial.add_argument("--output", type=Path, required=True)
    trial.add_argument("--workflow-pid", type=int, help="end when this process does")
    trial.set_defaults(run=_trial)
    sources = stages.add_parser("sources", help="list the package files that a study depends on")
    sources.add_argument("--study", required=True, choices=MEASURABLE)
    sources.set_defaults(run=_sources)
    schema = stages.add_parser(
        "schema", help="print the schema of the configuration, as the types of the settings say it"
    )
    schema.set_defaults(run=_schema)
    _add_result_stages(stages)
    add_simulation_stages(stages)
    add_provenance_stages(stages)
    return parser


def _add_result_stages(stages: Any) -> None:
    aggregate = stages.add_parser("aggregate", help="put the trials of one study together")
    aggregate.add_argument("--study", required=True, choices=MEASURABLE)
    aggregate.add_argument("--output", type=Path, required=True)
    aggregate.add_argument(
        "--expected-trials", type=int, help="of each variant; fewer are refused; default: any number"
    )
    aggregate.add_argument("trials", type=Path, nargs="+")
    aggregate.set_defaults(run=_aggregate)
    table = stages.add_parser("table", help="render one study's LaTeX table")
    table.add_argument("--study", required=True, choices=MEASURABLE)
    table.add_argument("--input", type=Path, required=True)
    table.add_argument("--simulation", type=Path, help="the simulation's result, for the table that compares with it")
    table.add_argument("--output", type=Path, required=True)
    table.set_defaults(run=_table)
    figure = stages.add_parser("figure", help="draw figures, each as PDF and PNG")
    figure.add_argument("names", nargs="+", metavar="name")
    figure.add_argument("--inputs", type=Path, nargs="+", required=True)
    add_drawn(figure)
    figure.set_defaults(run=_figure)
    for name, summary, run in (
        ("numbers", "write one LaTeX macro for each number", _numbers),
        ("document", "write the LaTeX document", _document),
        ("appendix", "write the artifact appendix", _appendix),
        ("pages", "write the report's pages", _pages),
    ):
        stage = stages.add_parser(name, help=summary)
        stage.add_argument("--inputs", type=Path, nargs="+", required=True)
        if name != "numbers":
            stage.add_argument("--claims", type=Path, required=name != "document", help="what judge wrote")
        if name == "document":
            stage.add_argument("--results-dir", type=Path, required=True, help="folder of tables and macros")
        stage.add_argument("--output-dir" if name == "pages" else "--output", type=Path, required=True)
        stage.set_defaults(run=run)
    _add_claim_stages(stages)


def _add_claim_stages(stages: Any) -> None:
    judge = stages.add_parser("judge", help="judge every claim of the claims file")
    judge.add_argument("--claims", type=Path, default=repository_root() / "config/claims.yaml")
    judge.add_argument("--inputs", type=Path, nargs="+", required=True, help="aggregated results")
    judge.add_argument("--output", type=Path, required=True)
    judge.set_defaults(run=_judge)
    for name, summary in (("claims-table", "render the verdicts' LaTeX table"), ("claims-figure", "draw the verdicts")):
        stage = stages.add_parser(name, help=summary)
        stage.add_argument("--input", type=Path, required=True, help="what judge wrote")
        stage.add_argument("--output", type=Path, required=True)
        stage.set_defaults(run=_claims_table if name == "claims-table" else _claims_figure)


# Each stage imports what it needs when it runs: measuring must work without plotting packages, and the workflow
# asks for sources at every parse.


def _trial(options: argparse.Namespace) -> None:
    if options.settings is not None:
        settings = given_settings(options.settings)
    else:
        settings = trial_settings(import_module("ablations.configuration").load_config(*options.config), options.study)
    if options.workflow_pid is not None:
        import_module("ablations.measurement.lifeline").hang_on(options.workflow_pid)
    # Even importing torch would disturb a trial that another process is measuring.
    with import_module("ablations.measurement.exclusive").measuring_alone():
        if import_module("ablations.measurement.sources").starts_server(options.study):
            import_module("djinn.client.process").launch()  # imports torch while this process does, too
        run_trial = import_module("ablations.trial").run_trial
        # What is measured runs as in a user's process: collections on, and what was imported among the old objects.
        gc.freeze()
        gc.unfreeze()
        gc.enable()
        run_trial(options.study, options.variant, options.trial, settings, options.output)


def _sources(options: argparse.Namespace) -> None:
    for path in import_module("ablations.measurement.sources").study_sources(options.study):
        print(path)


def _schema(options: argparse.Namespace) -> None:
    print(json.dumps(generate_schema(), indent=2))


def _aggregate(options: argparse.Namespace) -> None:
    if options.expected_trials is not None and options.expected_trials < 1:
        raise SettingsError(
            f"--expected-trials is {options.expected_trials}, but a variant has at least one trial; pass how many each has."
        )
    import_module("ablations.analysis.aggregate").aggregate_files(
        options.study, options.trials, options.output, expected_trials=options.expected_trials
    )


def _table(options: argparse.Namespace) -> None:
    import_module("ablations.rendering.tables").render_table(
        options.study, options.input, options.output, options.simulation
    )


def _figure(options: argparse.Namespace) -> None:
    for name, output in drawn(options):
        import_module("ablations.rendering.figures").render_figure(name, options.inputs, output)


def _numbers(options: argparse.Namespace) -> None:
    import_module("ablations.rendering.macros").render_macros(options.inputs, options.output)


def _document(options: argparse.Namespace) -> None:
    import_module("ablations.rendering.document").render_document(
        options.inputs, options.results_dir, options.output, options.claims
    )


def _appendix(options: argparse.Namespace) -> None:
    import_module("ablations.rendering.appendix").render_appendix(options.inputs, options.claims, options.output)


def _pages(options: argparse.Namespace) -> None:
    import_module("ablations.rendering.pages").render_pages(options.inputs, options.claims, options.output_dir)


def _judge(options: argparse.Namespace) -> None:
    import_module("ablations.judging.judge").judge_files(options.claims, options.inputs, options.output)


def _claims_table(options: argparse.Namespace) -> None:
    import_module("ablations.rendering.claims").render_claims_table(options.input, options.output)


def _claims_figure(options: argparse.Namespace) -> None:
    import_module("ablations.rendering.claims").render_claims_figure(options.input, options.output)
