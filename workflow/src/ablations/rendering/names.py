"""What is rendered and from what, without importing what renders it: the workflow reads this at every parse."""

from __future__ import annotations

# The file of each study's table, without its suffix; its template has the same name.
TABLE_NAMES = {
    "os_tax": "ablation_os_tax_table",
    "session_arena": "ablation_arena_table",
    "plan_cache": "ablation_cache_table",
    "semantic_signals": "ablation_signals_table",
}

# What is rendered on demand alone.
EXTRA_TABLE_NAMES = {"peers": "peers_table"}
EXTRA_FIGURE_STUDIES = {"peers": ("peers",)}

# The studies whose results each figure shows.
FIGURE_STUDIES = {
    "ablation_1_os_tax": ("os_tax",),
    "ablation_2_arena_latency": ("session_arena",),
    "ablation_3_plan_cache": ("plan_cache",),
    "ablation_4_semantic_signals": ("semantic_signals",),
    "ablation_cache_histogram": ("plan_cache",),
    "ablation_signals_cliff": ("semantic_signals",),
    "ablation_signals_timeline": ("semantic_signals",),
    "ablation_summary": ("os_tax", "session_arena", "plan_cache", "semantic_signals"),
}

# Figures that lie beside the results instead of among the figures.
BESIDE_RESULTS = ("ablation_cache_histogram", "ablation_signals_cliff", "ablation_signals_timeline")

# What shows the simulation in virtual time, all of it beside the results.
SIMULATED_STUDY = "semantic_signals"
SIMULATION_RESULT = "signals_simulation"
SIMULATION_FIGURES = ("ablation_signals_validation", "ablation_signals_sweeps")
SIMULATION_TABLE = "ablation_signals_simulation_table"

# The table and the figure of the verdicts, which are read from claims.json.
CLAIMS_TABLE = "claims_table"
CLAIMS_FIGURE = "claims"
