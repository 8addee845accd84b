"""The peers are measured for real; how they are aggregated, tabulated and drawn is seen from typed times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablations.analysis.peers import ARMS
from ablations.analysis.reading import read_aggregated
from ablations.records import read_record, write_json
from ablations.settings import VARIANTS
from conftest import Run

TINY = Path("tests/tiny.yaml")


# What the peers do is the same for each operation: the one without a module, and the one with the largest.
MEASURED = ("micro_add", "full_forward")
_TYPED_US = {"djinn": 10.0, "ray": 500.0}


@pytest.fixture(scope="module")
def trials(run_cli: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One trial of each of these."""
    folder = tmp_path_factory.mktemp("peers")
    paths = [folder / variant / "trial_0.json" for variant in MEASURED]
    for path in paths:
        arguments = ("--study", "peers", "--variant", path.parent.name, "--trial", 0, "--config", TINY)
        done = run_cli("-m", "ablations", "trial", *arguments, "--output", path)
        assert done.returncode == 0, done.stderr
    return paths


@pytest.fixture(scope="module")
def typed_study(trials: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A record of every operation, all of them synthetic: a measured one's form with typed times."""
    folder = tmp_path_factory.mktemp("typed")
    record = json.loads(trials[-1].read_text())
    for arm in ARMS:
        record["samples"][f"{arm}_us"] = [_TYPED_US.get(arm, 20.0)] * len(record["samples"][f"{arm}_us"])
    paths = [folder / variant / "trial_0.json" for variant in VARIANTS["peers"]]
    for path in paths:
        write_json(path, record | {"variant": path.parent.name})
    return paths


def test_every_peer_computes_the_same(trials: list[Path]) -> None:
    """Bit for bit, but for compiled code, whose distance from eager PyTorch is recorded."""
    for path in trials:
        record = read_record(path)
        assert record.checks["bit_exact"]
        assert {len(record.samples[f"{arm}_us"]) for arm in ARMS} == {4}
        assert sorted(set(record.samples["order"])) == sorted(ARMS)
        assert record.samples["compiled_distance"] < 1e-3


def test_peers_are_aggregated_and_shown(typed_study: list[Path], run_cli: Run, tmp_path: Path) -> None:
    """Typed times of every operation, as a result without an ablation's number, a table and a figure."""
    result, table, figure = (tmp_path / name for name in ("peers.json", "peers_table.tex", "peers.pdf"))
    for arguments in (
        ("aggregate", "--study", "peers", "--output", result, *typed_study),
        ("table", "--study", "peers", "--input", result, "--output", table),
        ("figure", "peers", "--inputs", result, "--output", figure),
    ):
        done = run_cli("-m", "ablations", *arguments)
        assert done.returncode == 0, done.stderr
    aggregated = read_aggregated(result)
    assert aggregated["ablation"] is None
    for variant in VARIANTS["peers"]:
        assert aggregated["quantities"][f"{variant}.ray_over_djinn"]["value"] == pytest.approx(50.0)
    assert "Ray actor" in table.read_text()
    assert figure.read_bytes().startswith(b"%PDF")
    assert figure.with_suffix(".png").stat().st_size > 0


def test_a_peer_that_is_not_installed_is_named(run_cli: Run, tmp_path: Path) -> None:
    """One sentence with the file to install, and nothing recorded."""
    (tmp_path / "ray.py").write_text("raise ImportError('not installed')\n")
    output = tmp_path / "trial.json"
    arguments = ("--study", "peers", "--variant", "micro_add", "--trial", 0, "--config", TINY, "--output", output)
    done = run_cli("-m", "ablations", "trial", *arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "envs/requirements-peers.txt" in done.stderr
    assert not output.exists()
