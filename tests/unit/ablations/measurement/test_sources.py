"""What a study depends on is found without running it, and covers what a trial loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ablations.errors import MeasurementError
from ablations.measurement import sources
from ablations.measurement.sources import module_sources, starts_server, study_sources
from ablations.settings import STUDIES


def _names(study: str) -> set[str]:
    return {path.as_posix().split("workflow/src/")[1] for path in study_sources(study)}


def test_the_arena_study_does_not_depend_on_the_device() -> None:
    """An edit to dispatching must not re-measure arenas."""
    names = _names("session_arena")
    assert "djinn/memory/vmu.py" in names
    assert "ablations/studies/session_arena.py" in names
    assert not any(name.startswith(("djinn/device/", "djinn/server/", "ablations/analysis/")) for name in names)


def test_studies_on_the_device_depend_on_the_server() -> None:
    """It runs in another process, but what it does is measured."""
    for study in ("os_tax", "plan_cache", "semantic_signals"):
        assert {"djinn/server/executor.py", "djinn/planning/placement.py"} <= _names(study)


@pytest.mark.parametrize("study", STUDIES)
def test_only_the_arena_study_starts_no_server(study: str) -> None:
    """A server that is launched for it would only disturb it."""
    assert starts_server(study) is (study != "session_arena")


@pytest.mark.parametrize("study", STUDIES)
def test_no_study_depends_on_how_results_are_shown(study: str) -> None:
    """Neither on another study."""
    names = _names(study)
    assert not any(name.startswith(("ablations/rendering/", "ablations/analysis/")) for name in names)
    others = {f"ablations/studies/{other}.py" for other in STUDIES if other != study}
    assert not others & names


def test_an_unknown_study_is_named() -> None:
    """With what to do."""
    with pytest.raises(MeasurementError, match="'warp' has no module"):
        study_sources("warp")


def test_finding_sources_imports_neither_torch_nor_the_study() -> None:
    """The workflow asks at every parse."""
    program = (
        "import sys; from ablations.measurement.sources import study_sources; study_sources('os_tax');"
        "print([name for name in ('torch', 'djinn', 'ablations.studies') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def test_a_package_is_a_source_of_what_lies_in_it() -> None:
    """Its __init__ runs first, at every level."""
    paths = {path.as_posix().partition("/src/")[2] for path in module_sources("djinn.planning.plan")}
    assert {"djinn/__init__.py", "djinn/planning/__init__.py", "djinn/planning/plan.py"} <= paths


def test_the_hash_covers_names_and_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every file; where the checkout lies does not matter."""
    hashes = []
    for folder, name, content in (("a", "x.py", "1"), ("b", "x.py", "1"), ("b", "y.py", "1"), ("b", "x.py", "2")):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        monkeypatch.setattr(sources, "_SOURCE_ROOT", path.parent)
        hashes.append(sources.sources_hash([path]))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_modules_that_were_loaded_undeclared_are_named() -> None:
    """Of this project, and in order; what was declared is not."""
    declared = module_sources("ablations.measurement.sources")
    loaded = sources.undeclared_modules(declared)
    assert "ablations.settings" in loaded
    assert loaded == sorted(loaded)
    assert {name.partition(".")[0] for name in loaded} <= {"ablations", "djinn"}
    assert not {"ablations.measurement.sources", "ablations.errors", "ablations.cli"} & set(loaded)
