"""The simulation's result is shown only if its settings are those of a simulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablations.errors import RecordError
from ablations.rendering.simulated import read_simulation
from ablations.rendering.simulation import render_simulation_figure
from ablations.rendering.simulation_table import render_simulation_table
from ablations.rendering.tables import render_table


@pytest.fixture
def reference(root: Path) -> Path:
    """The committed run of a small machine."""
    return root / "results/reference/intel-xeon-2-cores"


def test_a_whole_result_is_what_its_file_says(reference: Path) -> None:
    """Nothing is added."""
    path = reference / "signals_simulation.json"
    assert read_simulation(path) == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda result: result.update(settings={"a": 1}), "Expected `object`, got `null`"),
        (
            lambda result: result["settings"]["simulation"]["paper"].update(arrivals_per_s="x"),
            r"Expected `float`, got `str` - at `\$.paper.arrivals_per_s`",
        ),
        (
            lambda result: result["settings"]["simulation"].pop("num_seeds"),
            "missing required field `num_seeds`",
        ),
    ],
)
def test_other_settings_are_refused_by_all_that_show_it(
    change: Callable[[dict[str, Any]], object], message: str, reference: Path, tmp_path: Path
) -> None:
    """With the file, and the setting's place."""
    content = json.loads((reference / "signals_simulation.json").read_text())
    change(content)
    path, output = tmp_path / "s.json", tmp_path / "out" / "x.pdf"
    path.write_text(json.dumps(content))
    for show in (
        lambda: render_simulation_table(path, output),
        lambda: render_simulation_figure("ablation_signals_sweeps", path, output),
        lambda: render_table("semantic_signals", reference / "ablation_4.json", output, path),
    ):
        with pytest.raises(
            RecordError, match=rf"Result {path} has settings that are none of a simulation \(.*{message}"
        ):
            show()
    assert not output.exists()
