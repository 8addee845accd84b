"""Measures all four ablations, one after another, except those that are skipped."""

from __future__ import annotations

import argparse
import sys

from ablations.campaign import add_common_flags, main
from ablations.settings import STUDIES

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--skip-ablation",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        choices=range(1, len(STUDIES) + 1),
        help="ablations to leave out: 1 OS tax, 2 session arena, 3 plan cache, 4 semantic signals",
    )
    add_common_flags(parser)
    options = parser.parse_args()
    chosen = [study for number, study in enumerate(STUDIES, start=1) if number not in options.skip_ablation]
    sys.exit(main(chosen, options))
