"""Which package files a study depends on, found without importing them.

The workflow declares them as inputs of the study's trials, so that an edit measures again exactly the studies that
import the file. `djinn` loads its public names lazily; its table of names is read, so that `djinn.X` leads to the
module that defines X.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from functools import lru_cache
from pathlib import Path

from ablations.errors import MeasurementError

_SOURCE_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("ablations", "djinn")
# Parsing the command line, reading the configuration and waiting for one's turn happen before anything is measured and cannot change it.
_ENTRY_POINTS = frozenset(
    {
        "ablations.cli",
        "ablations.__main__",
        "ablations.configuration",
        "ablations.measurement.exclusive",
        "ablations.measurement.lifeline",
        "ablations.provenance_stages",
        "ablations.simulation_stages",
        "ablations.violations",
        "ablations.yaml_files",
    }
)


def study_sources(study: str) -> list[Path]:
    """Return the package files that a trial of `study` may load, sorted.

    Raises:
        MeasurementError: there is no such study.
    """
    entry = f"ablations.studies.{study}"
    if _module_path(entry) is None:
        raise MeasurementError(f"Study {study!r} has no module {entry}; add it or correct the name.")
    return module_sources(entry, "ablations.trial")


def starts_server(study: str) -> bool:
    """Tell whether a trial of `study` starts an embedded server; raises as `study_sources` does."""
    return _module_path("djinn.server.__main__") in study_sources(study)


def module_sources(*entries: str) -> list[Path]:
    """Return the package files that these modules import, transitively, and themselves, sorted."""
    return list(_closure(entries))


# The workflow asks for the same closures once for each of its jobs, at every parse.
@lru_cache(maxsize=128)
def _closure(entries: tuple[str, ...]) -> tuple[Path, ...]:
    found: dict[str, Path] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        path = _module_path(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting.extend(_imports(path))
        waiting.extend(_parents(name))
    return tuple(sorted(set(found.values())))


def sources_hash(paths: list[Path]) -> str:
    """Return the sha256 over names and contents of source files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(str(path.relative_to(_SOURCE_ROOT)).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def undeclared_modules(declared: list[Path]) -> list[str]:
    """Return the project's modules that this process has loaded although they are not among `declared`."""
    known = {path.resolve() for path in declared}
    loaded = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] not in _PACKAGES or name in _ENTRY_POINTS or file is None:
            continue
        if Path(file).resolve() not in known:
            loaded.append(name)
    return sorted(loaded)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


@lru_cache(maxsize=4096)
def _module_path(name: str) -> Path | None:
    if name.partition(".")[0] not in _PACKAGES:
        return None
    base = _SOURCE_ROOT.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@lru_cache(maxsize=512)
def _imports(path: Path) -> tuple[str, ...]:
    names: list[str] = []
    used: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.append(node.module)
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)
            if node.module == "djinn":
                used.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "djinn":
            used.add(node.attr)
    if path != _SOURCE_ROOT / "djinn" / "__init__.py":
        names.extend(_lazy_targets(used))
    return tuple(names)


def _lazy_targets(used: set[str]) -> list[str]:
    """Return the modules that define these public names of the runtime."""
    table = _lazy_table()
    targets = [table[name] for name in sorted(used) if name in table]
    # The runtime starts its server by name, so whoever starts the runtime depends on the server too.
    return [*targets, "djinn.server.__main__"] if "init" in used else targets


@lru_cache(maxsize=1)
def _lazy_table() -> dict[str, str]:
    path = _SOURCE_ROOT / "djinn" / "__init__.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "_LAZY":
            assert node.value is not None, "the table of public names has a value"
            table: dict[str, str] = ast.literal_eval(node.value)
            return table
    raise AssertionError(f"{path} has no table of public names")
