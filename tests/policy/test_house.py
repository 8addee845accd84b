"""The house stays in order: pins agree, nothing is pickled, every file says what it owns."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "workflow/src").rglob("*.py")) + sorted((ROOT / "workflow/scripts").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("the tree is not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines()]


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / "envs" / name).read_text().splitlines()
    return dict(line.lower().split("==") for line in lines if "==" in line)


def test_conda_has_the_same_pins_as_pip() -> None:
    """Under conda's names for three of them; the workflow engine and its report are not part of a job's environment."""
    renamed = {"torch": "pytorch", "matplotlib": "matplotlib-base", "fastjsonschema": "python-fastjsonschema"}
    engine = {"snakemake", "pygments"}
    expected = {renamed.get(name, name): pin for name, pin in _pins("requirements.txt").items() if name not in engine}
    listed = yaml.safe_load((ROOT / "envs/environment.yaml").read_text())["dependencies"]
    assert dict(item.split("=") for item in listed if not item.startswith("python=")) == expected


def test_every_requirement_is_pinned_exactly() -> None:
    """An artifact must build the same environment in five years."""
    for name in ("requirements.txt", "requirements-test.txt"):
        for line in (ROOT / "envs" / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r")):
                assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_pickled_or_evaluated(path: Path) -> None:
    """Neither on the wire nor in results."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "marshal", "dill", "cloudpickle", "shelve"} & set(names)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda path: path.name)
def test_every_file_says_what_it_owns(path: Path) -> None:
    """A docstring whose first line is a sentence."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert re.search(r"[.:;]", docstring), path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_files_and_functions_stay_short(path: Path) -> None:
    """Past these lengths a concept is missing."""
    text = path.read_text()
    assert len(text.splitlines()) <= 330
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


def test_every_rule_logs(root: Path) -> None:
    """Of those that run something."""
    for path in (root / "workflow/rules").glob("*.smk"):
        blocks = re.split(r"\n(?:    )?rule ?\w*:", path.read_text())[1:]
        for block in blocks:
            assert "log:" in block or "shell:" not in block, f"{path.name}: {block[:80]}"


def test_only_reference_results_are_committed() -> None:
    """Everything else is generated."""
    for path in _tracked():
        relative = path.relative_to(ROOT)
        if relative.parts[0] in ("results", "figures"):
            assert relative.parts[1] in ("reference", "README.md"), relative


def test_no_absolute_path_of_a_machine_is_committed() -> None:
    """The project runs anywhere."""
    pattern = re.compile(r"/(?:home|root|work|Users)/[a-z]")
    kinds = {".py", ".smk", ".yaml", ".toml", ".j2", ".md", ".txt", ".mplstyle", ""}
    for path in _tracked():
        if path.suffix in kinds and path != Path(__file__):
            assert not pattern.search(path.read_text()), path
