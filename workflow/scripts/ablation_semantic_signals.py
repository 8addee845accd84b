"""Measures ablation 4, semantic signals, and writes ablation_4.json and its table."""

from __future__ import annotations

import sys

from ablations.campaign import main, study_parser

if __name__ == "__main__":
    parser = study_parser("semantic_signals", "how many agents can be alive at once with and without signals")
    options = parser.parse_args()
    overrides = {} if options.n_trials is None else {"trials": {"semantic_signals": options.n_trials}}
    sys.exit(main(["semantic_signals"], options, overrides))
