"""Measures ablation 1, the OS tax, and writes ablation_1.json and its table."""

from __future__ import annotations

import sys

from ablations.campaign import main, study_parser

if __name__ == "__main__":
    parser = study_parser("os_tax", "how much latency the runtime's interposition adds")
    options = parser.parse_args()
    overrides = {} if options.n_trials is None else {"trials": {"os_tax": options.n_trials}}
    sys.exit(main(["os_tax"], options, overrides))
