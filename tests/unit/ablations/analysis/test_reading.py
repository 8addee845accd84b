"""Aggregated results are read whole, and what one lacks is named with its file by whoever looks for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablations.analysis.reading import read_aggregated, read_studies
from ablations.errors import RecordError
from ablations.rendering.figures import render_figure
from ablations.rendering.tables import render_table

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def reference(root: Path) -> Path:
    """The committed run of a small machine."""
    return root / "results/reference/intel-xeon-2-cores"


def _changed(source: Path, folder: Path, change: Change) -> Path:
    content = json.loads(source.read_text())
    change(content)
    path = folder / source.name
    path.write_text(json.dumps(content))
    return path


def test_a_whole_result_is_what_its_file_says(reference: Path) -> None:
    """And can be written again."""
    path = reference / "ablation_4.json"
    assert read_aggregated(path) == json.loads(path.read_text())
    assert json.loads(json.dumps(read_aggregated(path))) == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("name", "study", "change", "lacking"),
    [
        ("ablation_3", "plan_cache", lambda r: r["quantities"].pop("dispatch.cache_off"), "'dispatch.cache_off' in"),
        (
            "ablation_3",
            "plan_cache",
            lambda r: r["quantities"].pop("token_speedup"),
            "'token_speedup' in its quantities",
        ),
        ("ablation_1", "os_tax", lambda r: r["settings"]["study"].pop("layer"), "'layer' in its settings.study"),
        ("ablation_2", "session_arena", lambda r: r["series"].pop("sizes_mb"), "'sizes_mb' in its series"),
        (
            "peers",
            "peers",
            lambda r: r["quantities"].pop("full_forward.rpc_over_djinn"),
            "'full_forward.rpc_over_djinn'",
        ),
    ],
)
def test_a_table_names_what_its_result_lacks(
    name: str, study: str, change: Change, lacking: str, reference: Path, tmp_path: Path
) -> None:
    """Also within a template, which would say only that a dictionary has no such attribute."""
    path = _changed(reference / f"{name}.json", tmp_path, change)
    with pytest.raises(RecordError, match=rf"Result {path} lacks {lacking}.*; delete it and make it again\.$"):
        render_table(study, path, tmp_path / "x.tex")
    assert not (tmp_path / "x.tex").exists()


def test_a_figure_names_what_its_result_lacks(reference: Path, tmp_path: Path) -> None:
    """Within lists of a series too."""
    path = _changed(reference / "ablation_4.json", tmp_path, lambda r: r["series"]["probes"][0].pop("p99_ms"))
    with pytest.raises(RecordError, match=rf"Result {path} lacks 'p99_ms' in its series\.probes; "):
        render_figure("ablation_signals_cliff", [path], tmp_path / "x.pdf")


def test_what_may_be_absent_is_asked_for(reference: Path) -> None:
    """Without a word if it is."""
    quantities = read_aggregated(reference / "ablation_3.json")["quantities"]
    assert quantities.get("unheard_of") is None
    assert "unheard_of" not in quantities


def test_a_study_that_is_no_ablation_comes_last(reference: Path) -> None:
    """It has no number to be sorted by."""
    names = ("peers", "ablation_2", "ablation_1")
    assert list(read_studies([reference / f"{name}.json" for name in names])) == ["os_tax", "session_arena", "peers"]
