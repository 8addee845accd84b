"""The stages of the command line that trace and examine results: explain, verify, ledger, status, doctor, compare."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def add_provenance_stages(stages: Any) -> None:
    """Add the subcommands; each imports what it needs when it runs."""
    explain = _stage(stages, "explain", "say where a number, a claim or a figure comes from", _explain)
    explain.add_argument(
        "name", help="a macro, a cell like os_tax.micro_add.native, a claim, a figure, a table or a study"
    )
    verify = _stage(
        stages, "verify", "name what was edited, lost, added or made by other code; status 1 if anything", _verify
    )
    verify.add_argument("--recompute", action="store_true", help="also aggregate the trials again and compare")
    _stage(stages, "status", "say what exists, what is stale and why, what is left and how long it takes", _status)
    ledger = stages.add_parser("ledger", help="write the sha256 of results and of what they were made from")
    ledger.add_argument("--output", type=Path, required=True, help="ledger.json in the folder of results")
    ledger.add_argument("files", type=Path, nargs="+")
    ledger.set_defaults(run=_ledger)
    doctor = stages.add_parser("doctor", help="examine this machine; status 1 if something stands in the way")
    doctor.add_argument("--torch", action="store_true", help="also load torch and ask it for its devices (seconds)")
    doctor.set_defaults(run=_doctor)
    compare = stages.add_parser("compare", help="put results beside reference runs and the paper")
    compare.add_argument("--results-dir", type=Path, required=True)
    compare.add_argument("--reference-dir", type=Path, required=True, help="folder with one folder for each machine")
    compare.add_argument("--output", type=Path, required=True, help="the JSON; .tex and .txt are written beside it")
    compare.set_defaults(run=_compare)


def _stage(stages: Any, name: str, summary: str, run: Any) -> argparse.ArgumentParser:
    stage: argparse.ArgumentParser = stages.add_parser(name, help=summary)
    default = "results" if name != "status" else None
    shown = "results" if default else "the tier's"
    stage.add_argument("--results-dir", type=Path, default=default, help=f"folder of results; default: {shown}")
    stage.add_argument(
        "--config", type=Path, action="append", default=[], help="the tier's configuration, if not in config/"
    )
    stage.set_defaults(run=run)
    return stage


def _explain(options: argparse.Namespace) -> None:
    for line in import_module("ablations.provenance.explain").explain(
        options.name, options.results_dir, options.config
    ):
        print(line)


def _verify(options: argparse.Namespace) -> int:
    found = 0
    for line in import_module("ablations.provenance.verify").report(
        options.results_dir, options.config, recompute=options.recompute
    ):
        found += line.is_finding
        print(line.text)
    return 1 if found else 0


def _status(options: argparse.Namespace) -> None:
    for line in import_module("ablations.provenance.status").status(options.config, options.results_dir):
        print(line)


def _ledger(options: argparse.Namespace) -> None:
    import_module("ablations.provenance.ledger").write_ledger(options.output.parent, options.files)


def _doctor(options: argparse.Namespace) -> int:
    doctor = import_module("ablations.provenance.doctor")
    checks = list(doctor.examine(load_torch=options.torch))
    for line in doctor.describe(checks):
        print(line)
    return 1 if any(check.is_problem for check in checks) else 0


def _compare(options: argparse.Namespace) -> None:
    compare = import_module("ablations.provenance.compare")
    for note in compare.compare_files(options.results_dir, options.reference_dir, options.output):
        print(note, file=sys.stderr)
