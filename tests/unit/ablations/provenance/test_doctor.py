"""Each thing that may be wrong with a machine is found in a machine that has it, with one remedy."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ablations.judging.claims import Claim, Contradiction
from ablations.provenance.doctor import Check, check_machine, claims_check, describe
from ablations.provenance.surroundings import Machine, look_around


def _machine(**changes: Any) -> Machine:
    """Return a machine without any problem, changed."""
    facts = {
        "os": "Linux",
        "kernel": "6.1",
        "cpu_model": "CPU",
        "memory_total_gib": 16,
        "cpu_cores_used": 4,
        "cpu_cores_logical": 4,
    }
    values: dict[str, Any] = {
        "facts": facts,
        "python": (3, 11, 7),
        "pins": {"torch": "2.13.0", "numpy": "2.4.6"},
        "versions": {"torch": "2.13.0+cpu", "numpy": "2.4.6"},
        "load": 0.1,
        "governors": {"performance": 4},
        "disk_free_bytes": 10 * 1024**3,
        "memory_free_bytes": 8 * 1024**3,
        "memfd_error": None,
        "shm_error": None,
        "tools": {"pdflatex": "/usr/bin/pdflatex", "chromium": "/usr/bin/chromium"},
        "gpus": ["NVIDIA H100 80GB HBM3"],
    }
    return Machine(**(values | {"facts": facts | changes.pop("facts", {})} | changes))


def _check(topic: str, machine: Machine) -> Check:
    (found,) = (check for check in check_machine(machine) if check.topic == topic)
    return found


def test_a_good_machine_is_fine() -> None:
    """In every topic, without remedies; a local version of torch is the pinned release."""
    checks = list(check_machine(_machine()))
    assert {check.state for check in checks} == {"fine"}
    assert not any(check.remedy for check in checks)
    assert list(describe(checks))[-1] == "nothing is in the way of measuring"


@pytest.mark.parametrize(
    ("topic", "changes", "text", "remedy"),
    [
        ("system", {"facts": {"os": "Darwin"}}, "Darwin", "use Linux"),
        ("python", {"python": (3, 10, 2)}, "3.10.2", "Python 3.11 or later"),
        (
            "packages",
            {"versions": {"torch": None, "numpy": "2.4.6"}},
            "torch missing instead of 2.13.0",
            "pip install -r",
        ),
        (
            "packages",
            {"versions": {"torch": "2.13.0", "numpy": "2.4.5"}},
            "numpy 2.4.5 instead of 2.4.6",
            "pip install -r",
        ),
        ("cores", {"facts": {"cpu_cores_used": 1}}, "1 of 4", "taskset"),
        ("load", {"load": 4.1}, "4.10", "close other programs"),
        ("memory", {"memory_free_bytes": 1024**3}, "1.0 GiB free", "free at least 2 GiB"),
        ("disk", {"disk_free_bytes": 1024**2}, "0.0 GiB free", "free at least 1 GiB"),
        ("shared memory", {"memfd_error": "Operation not permitted"}, "memfd does not work", "seccomp"),
    ],
)
def test_a_problem_has_its_value_and_its_remedy(topic: str, changes: dict[str, Any], text: str, remedy: str) -> None:
    """And is counted."""
    machine = _machine(**changes)
    check = _check(topic, machine)
    assert check.is_problem
    assert text in check.text
    assert remedy in check.remedy
    assert [other.topic for other in check_machine(machine) if other.is_problem] == [topic]
    lines = list(describe(list(check_machine(machine))))
    assert lines[-1] == "1 problem in the way of measuring"
    assert any(line.endswith(f"-> {check.remedy}") for line in lines)


@pytest.mark.parametrize(
    ("topic", "changes", "text"),
    [
        ("cores", {"facts": {"cpu_cores_used": 2}}, "2 of 4 cores may be used, by the affinity"),
        ("load", {"load": 1.5}, "1.50"),
        ("frequency", {"governors": {}}, "does not show"),
        ("frequency", {"governors": {"powersave": 4}}, "powersave on 4 cores"),
        ("shared memory", {"shm_error": "No space left on device"}, "/dev/shm does not"),
        ("tools", {"tools": {"pdflatex": None, "chromium": "/c"}}, "pdflatex not installed"),
        ("GPU", {"gpus": []}, "none; every study but those of config/paper.yaml"),
    ],
)
def test_what_hinders_nothing_is_a_note(topic: str, changes: dict[str, Any], text: str) -> None:
    """The exit status does not tell of it."""
    check = _check(topic, _machine(**changes))
    assert check.state == "note"
    assert text in check.text


def test_claims_that_need_other_hardware_are_named() -> None:
    """And those that no measurement can decide, by what the claims file says of each."""
    base = {"metric": "m", "comparison": "at_most", "threshold": 1.0, "unit": "ms", "quote": "", "section": ""}
    common: dict[str, Any] = base | {"line": 1, "study": "os_tax", "reading": ""}
    claims = [Claim(id="a.ratio", **common), Claim(id="a.time", hardware="H100", **common)]
    assert claims_check(claims, []).text == "1 of 2 can be tested here; 1 speak of H100 (a.time)"
    assert claims_check(claims, ["NVIDIA H100 80GB HBM3"]) == Check("claims", "fine", "2 of 2 can be tested here")
    torn = Claim(
        id="a.torn", contradiction=Contradiction(claims=(), why="", grade="inconsistent in the source"), **common
    )
    assert claims_check([torn], []).text == "0 of 1 can be tested here; 1 no measurement can decide (a.torn)"


def test_this_machine_is_looked_at_without_loading_torch() -> None:
    """And the pins are those of the requirements."""
    machine = look_around(load_torch=False)
    assert machine.pins["torch"] == machine.versions["torch"].partition("+")[0]  # type: ignore[union-attr]
    assert machine.memory_free_bytes > 0
    assert machine.torch_device is None
    assert msgspec.json.encode(machine.facts)


def test_the_command_names_every_tier_with_its_source(run_cli: Any) -> None:
    """The status is that of the problems it prints."""
    finished = run_cli("-m", "ablations", "doctor")
    assert finished.stderr == ""
    for tier in ("laptop", "smoke", "paper"):
        assert f"tier {tier}: " in finished.stdout
    assert "(from results" in finished.stdout
    assert "tier tiny" not in finished.stdout
    assert finished.returncode == (1 if "\nproblem " in f"\n{finished.stdout}" else 0)
