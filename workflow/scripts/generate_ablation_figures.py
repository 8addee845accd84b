"""Draws every figure and writes tables, macros and the LaTeX document from results that exist."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ablations.errors import AblationError, refused_by_system
from ablations.provenance.folder import LEDGER_NAME
from ablations.provenance.ledger import add_to_ledger
from ablations.rendering.everything import render_everything, result_paths

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results-dir", type=Path, default=Path("results"), help="folder with ablation_1.json to ablation_4.json"
    )
    parser.add_argument("--figures-dir", type=Path, help="where figures go; default: figures/ beside the results")
    options = parser.parse_args()
    try:
        for study, path in result_paths(options.results_dir).items():
            if not path.exists():
                print(f"without {study}, because {path} does not exist", file=sys.stderr)
        made = []
        for path in render_everything(
            options.results_dir, options.figures_dir or options.results_dir.resolve().parent / "figures"
        ):
            print(path)
            made.append(path)
        if (options.results_dir / LEDGER_NAME).exists():
            add_to_ledger(options.results_dir, made)
    except OSError as error:
        print(f"error: {refused_by_system(error)}", file=sys.stderr)
        sys.exit(2)
    except (AblationError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
