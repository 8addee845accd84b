"""What Snakemake leaves behind is read from where Snakemake puts it."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

from ablations.provenance.engine import workflow_engine

TRIAL = "results/tiny/trials/os_tax/micro_add/trial_0.json"


def _mark(root: Path, *parts: str) -> None:
    marker = root.joinpath(".snakemake/incomplete", *parts)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


def test_a_clean_folder_has_nothing(tmp_path: Path) -> None:
    """No run, no lock, no marks."""
    engine = workflow_engine(tmp_path)
    assert (engine.running, engine.is_locked, engine.incomplete) == (None, False, ())


def test_a_lock_is_seen(tmp_path: Path) -> None:
    """Whoever left it."""
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    assert not workflow_engine(tmp_path).is_locked
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    assert workflow_engine(tmp_path).is_locked


def test_marked_files_are_named_if_they_exist(tmp_path: Path) -> None:
    """Snakemake stops at those alone; long names are spread over folders."""
    encoded = base64.urlsafe_b64encode(TRIAL.encode()).decode()
    _mark(tmp_path, encoded)
    assert workflow_engine(tmp_path).incomplete == ()
    (tmp_path / TRIAL).parent.mkdir(parents=True)
    (tmp_path / TRIAL).touch()
    assert workflow_engine(tmp_path).incomplete == (TRIAL,)
    (tmp_path / ".snakemake/incomplete" / encoded).unlink()
    _mark(tmp_path, f"@{encoded[:20]}", encoded[20:])
    assert workflow_engine(tmp_path).incomplete == (TRIAL,)


def test_a_running_workflow_is_found_by_its_folder(tmp_path: Path) -> None:
    """And one of another folder is not."""
    script = tmp_path / "snakemake"
    script.write_text("import sys; print('ready', flush=True); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert workflow_engine(tmp_path).running == process.pid
        assert workflow_engine(tmp_path / "other").running is None
        process.communicate()
    assert workflow_engine(tmp_path).running is None
