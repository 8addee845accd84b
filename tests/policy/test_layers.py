"""Layers import downwards only; the study uses the runtime's public names only; measuring needs no plotting."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "workflow/src"

# Lowest first; a module may import from its own entry and from those before it.
LAYERS = {
    "djinn": [
        ["errors", "interrupts", "units"],
        ["config", "core", "forks", "host_bytes"],
        ["tracing", "protocol"],
        ["planning", "memory", "transport"],
        ["scheduling"],
        ["server", "client"],
        ["device"],
        ["api", "__init__"],
    ],
    "ablations": [
        ["errors", "__init__"],
        ["simulation_settings", "violations", "whole_files", "yaml_files"],
        ["settings"],
        ["configuration"],
        ["schemas"],
        ["records"],
        ["models", "measurement", "traces"],
        ["studies", "simulation"],
        ["trial"],
        ["analysis"],
        ["judging"],
        ["rendering"],
        ["provenance"],
        ["simulation_stages", "provenance_stages"],
        ["campaign", "cli"],
        ["__main__"],
    ],
}
# Siblings in one layer that must not know each other.
STRANGERS = [
    ("djinn", "server", "client"),
    ("djinn", "tracing", "protocol"),
    ("ablations", "analysis", "trial"),
    ("ablations", "simulation", "studies"),
]


def _modules(package: str) -> list[Path]:
    return sorted((SOURCE / package).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _part(path: Path, package: str) -> str:
    return path.relative_to(SOURCE / package).parts[0].removesuffix(".py")


def _rank(package: str, part: str) -> int:
    for rank, parts in enumerate(LAYERS[package]):
        if part in parts:
            return rank
    raise AssertionError(f"{package}.{part} belongs to no layer; add it to the table")


@pytest.mark.parametrize("package", LAYERS)
def test_imports_go_downwards(package: str) -> None:
    """No module imports from a layer above its own."""
    for path in _modules(package):
        own = _rank(package, _part(path, package))
        for name in _imports(path):
            parts = name.split(".")
            if (
                parts[0] == package
                and len(parts) > 1
                and (SOURCE / package).joinpath(parts[1]).with_suffix("").exists()
            ):
                assert _rank(package, parts[1]) <= own, f"{path.relative_to(SOURCE)} imports {name} from above"


@pytest.mark.parametrize(("package", "one", "other"), STRANGERS)
def test_strangers_do_not_know_each_other(package: str, one: str, other: str) -> None:
    """Client and server meet on the wire only; results are read without what measures them."""
    for path in _modules(package):
        part = _part(path, package)
        if part in (one, other):
            unwanted = f"{package}.{other if part == one else one}"
            assert not any(name.startswith(unwanted) for name in _imports(path)), f"{path} imports {unwanted}"


def test_the_runtime_does_not_know_the_study() -> None:
    """Nor what the study is rendered with."""
    for path in _modules("djinn"):
        tops = {name.partition(".")[0] for name in _imports(path)}
        assert not tops & {"ablations", "snakemake", "pandas", "jinja2", "matplotlib", "scipy"}, path


def test_the_study_uses_public_names_only() -> None:
    """`import djinn` and `djinn.errors`, nothing deeper."""
    for path in _modules("ablations"):
        for name in _imports(path):
            if name.partition(".")[0] == "djinn":
                assert name in {"djinn", "djinn.errors", "djinn.errors.DjinnError"}, f"{path} imports {name}"


def test_measuring_needs_no_plotting_packages() -> None:
    """So that it runs where only torch and a few small packages are installed."""
    for part in (
        "errors",
        "settings",
        "records",
        "models",
        "measurement",
        "traces",
        "studies",
        "simulation",
        "trial",
        "cli",
        "provenance_stages",
    ):
        place = SOURCE / "ablations" / part
        for path in place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
            tops = {name.partition(".")[0] for name in _imports(path)}
            assert not tops & {"snakemake", "pandas", "jinja2", "matplotlib", "scipy"}, path
