"""Measures ablation 3, the plan cache, and writes ablation_3.json and its table."""

from __future__ import annotations

import sys
from typing import Any

from ablations.campaign import main, study_parser

if __name__ == "__main__":
    parser = study_parser("plan_cache", "what the plan cache saves in a decode loop")
    parser.add_argument("--n-tokens", type=int, help="tokens of a sequence; at most the model's context")
    options = parser.parse_args()
    overrides: dict[str, Any] = {} if options.n_trials is None else {"trials": {"plan_cache": options.n_trials}}
    own = {} if options.n_tokens is None else {"tokens": options.n_tokens}
    sys.exit(main(["plan_cache"], options, {**overrides, "studies": {"plan_cache": own}}))
