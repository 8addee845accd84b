"""From claims and results to verdicts."""
