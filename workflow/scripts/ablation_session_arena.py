"""Measures ablation 2, session arenas, and writes ablation_2.json and its table."""

from __future__ import annotations

import sys
from typing import Any

from ablations.campaign import main, study_parser

if __name__ == "__main__":
    parser = study_parser("session_arena", "what reserving a session's arena costs")
    parser.add_argument("--arena-sizes", type=int, nargs="+", metavar="MB", help="sizes in MB")
    parser.add_argument("--n-sessions", type=int, help="live sessions of each size")
    options = parser.parse_args()
    overrides: dict[str, Any] = {} if options.n_trials is None else {"trials": {"session_arena": options.n_trials}}
    chosen = {"arena_sizes_mb": options.arena_sizes, "sessions": options.n_sessions}
    own = {name: value for name, value in chosen.items() if value is not None}
    sys.exit(main(["session_arena"], options, {**overrides, "studies": {"session_arena": own}}))
