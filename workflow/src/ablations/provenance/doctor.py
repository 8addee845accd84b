"""Whether this machine can measure: hardware, versions, load, space, tools; how long it takes, and what can be tested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ablations.judging.claims import Claim
from ablations.measurement.contamination import MAX_LOAD_PER_CORE
from ablations.provenance.claims import all_claims
from ablations.provenance.durations import expect, runs_at_hand
from ablations.provenance.surroundings import Machine, look_around
from ablations.provenance.tiers import Tier, known_tiers
from ablations.settings import STUDIES, VARIANTS, trial_count

State = Literal["fine", "note", "problem"]

MIN_PYTHON = (3, 11)
# An arena segment of 8 GiB is reserved, not committed; the largest trial commits some hundred megabytes.
MIN_MEMORY_BYTES = 2 * 1024**3
MIN_DISK_BYTES = 1024**3
_QUIET_LOAD_PER_CORE = 0.25
_FAST_GOVERNORS = (None, "performance")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was examined.

    Attributes:
        topic: what.
        state: a note hinders nothing, a problem does.
        text: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    topic: str
    state: State
    text: str
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        """Tell whether it stands in the way."""
        return self.state == "problem"


def examine(*, load_torch: bool = False) -> Iterator[Check]:
    """Examine this machine."""
    machine = look_around(load_torch=load_torch)
    yield from check_machine(machine)
    tiers = known_tiers()
    yield from (_tier_check(tier, machine) for tier in tiers.values() if not _is_for_tests(tier))
    yield claims_check(all_claims(), machine.gpus)


def describe(checks: list[Check]) -> Iterator[str]:
    """Yield the report: a line for each check, its remedy below it, and a sentence that sums up."""
    for check in checks:
        yield f"{check.state:<8}{check.topic}: {check.text}"
        if check.remedy:
            yield f"{'':<8}  -> {check.remedy}"
    problems = sum(check.is_problem for check in checks)
    yield (
        f"{problems} problem{'s' * (problems != 1)} in the way of measuring"
        if problems
        else "nothing is in the way of measuring"
    )


def check_machine(machine: Machine) -> Iterator[Check]:
    """Judge what was found, one check for each topic."""
    for check in (_system, _python, _packages, _cores, _load, _frequency, _memory, _disk, _sharing, _tools, _gpu):
        yield check(machine)


def claims_check(claims: Sequence[Claim], gpus: list[str]) -> Check:
    """Say which claims can be tested on a machine with these accelerators."""
    contradictory = [one for one in claims if one.contradiction is not None and one.contradiction.grade is not None]
    barred = [
        one
        for one in claims
        if one not in contradictory and one.hardware and not any(one.hardware in gpu for gpu in gpus)
    ]
    text = f"{len(claims) - len(contradictory) - len(barred)} of {len(claims)} can be tested here"
    if contradictory:
        text += f"; {len(contradictory)} no measurement can decide ({', '.join(one.id for one in contradictory)})"
    if not barred:
        return Check("claims", "fine", text)
    hardware = ", ".join(sorted({str(one.hardware) for one in barred}))
    return Check("claims", "note", f"{text}; {len(barred)} speak of {hardware} ({', '.join(one.id for one in barred)})")


def _system(machine: Machine) -> Check:
    facts = machine.facts
    text = f"{facts['os']} {facts['kernel']}, {facts['cpu_model']}, {facts['memory_total_gib']} GiB"
    if facts["os"] != "Linux":
        return Check("system", "problem", text, "use Linux: memory is shared between processes through memfd")
    return Check("system", "fine", text)


def _python(machine: Machine) -> Check:
    text = ".".join(map(str, machine.python))
    if machine.python < MIN_PYTHON:
        return Check(
            "python", "problem", text, f"make the environment with Python {'.'.join(map(str, MIN_PYTHON))} or later"
        )
    return Check("python", "fine", text)


def _packages(machine: Machine) -> Check:
    """A local version, such as +cpu, is the same release."""
    wrong = [
        f"{package} {machine.versions[package] or 'missing'} instead of {pin}"
        for package, pin in machine.pins.items()
        if (machine.versions[package] or "").partition("+")[0] != pin
    ]
    if wrong:
        return Check("packages", "problem", ", ".join(wrong), "pip install -r envs/requirements.txt")
    return Check("packages", "fine", f"all {len(machine.pins)} as envs/requirements.txt pins them")


def _cores(machine: Machine) -> Check:
    used, present = machine.facts["cpu_cores_used"], machine.facts["cpu_cores_logical"]
    text = f"{used} of {present} cores may be used"
    if used < 2:
        return Check(
            "cores", "problem", text, "give it two cores (taskset -c 0,1): client and server run at the same time"
        )
    if used < present:
        return Check("cores", "note", f"{text}, by the affinity of this process; results carry that number")
    return Check("cores", "fine", text)


def _load(machine: Machine) -> Check:
    used = machine.facts["cpu_cores_used"]
    text = f"{machine.load:.2f} over the last minute on {used} cores"
    if machine.load > MAX_LOAD_PER_CORE * used:
        return Check(
            "load", "problem", text, "close other programs and wait a minute; trials would be flagged busy_before"
        )
    if machine.load > _QUIET_LOAD_PER_CORE * used:
        return Check("load", "note", text, "close other programs; what runs beside a trial widens its intervals")
    return Check("load", "fine", text)


def _frequency(machine: Machine) -> Check:
    if not machine.governors:
        return Check("frequency", "note", "the kernel does not show how it scales; usual in virtual machines")
    text = ", ".join(f"{governor} on {count} cores" for governor, count in machine.governors.items())
    if set(machine.governors) - {*_FAST_GOVERNORS}:
        return Check("frequency", "note", text, "sudo cpupower frequency-set -g performance, for narrower intervals")
    return Check("frequency", "fine", text)


def _memory(machine: Machine) -> Check:
    text = f"{machine.memory_free_bytes / 1024**3:.1f} GiB free"
    if machine.memory_free_bytes < MIN_MEMORY_BYTES:
        return Check(
            "memory", "problem", text, f"free at least {MIN_MEMORY_BYTES // 1024**3} GiB, or use config/smoke.yaml"
        )
    return Check("memory", "fine", text)


def _disk(machine: Machine) -> Check:
    text = f"{machine.disk_free_bytes / 1024**3:.1f} GiB free beside the results"
    if machine.disk_free_bytes < MIN_DISK_BYTES:
        return Check("disk", "problem", text, f"free at least {MIN_DISK_BYTES // 1024**3} GiB")
    return Check("disk", "fine", text)


def _sharing(machine: Machine) -> Check:
    """Djinn itself needs memfd alone."""
    if machine.memfd_error is not None:
        text = f"memfd does not work ({machine.memfd_error})"
        return Check("shared memory", "problem", text, "allow memfd_create, which containers may forbid by seccomp")
    if machine.shm_error is not None:
        text = f"memfd works, /dev/shm does not ({machine.shm_error})"
        return Check("shared memory", "note", text, "give the container --shm-size=1g, which the peers' study needs")
    return Check("shared memory", "fine", "memfd and /dev/shm work")


def _tools(machine: Machine) -> Check:
    missing = [name for name, path in machine.tools.items() if path is None]
    uses = {"pdflatex": "report_pdf (texlive-latex-recommended)", "chromium": "the test of the HTML report"}
    if missing:
        return Check(
            "tools",
            "note",
            f"{', '.join(missing)} not installed; only needed for {', '.join(uses[name] for name in missing)}",
        )
    return Check("tools", "fine", f"{', '.join(machine.tools)} are installed")


def _gpu(machine: Machine) -> Check:
    asked = f"; torch says: {machine.torch_device}" if machine.torch_device else ""
    if not machine.gpus:
        return Check("GPU", "note", f"none; every study but those of config/paper.yaml runs without{asked}")
    return Check("GPU", "fine", f"{', '.join(machine.gpus)}{asked}")


def _tier_check(tier: Tier, machine: Machine) -> Check:
    trials = [
        (study, variant)
        for study in STUDIES
        for variant in VARIANTS[study]
        for _ in range(trial_count(tier.config, study))
    ]
    topic = f"tier {tier.name}"
    if tier.config.device == "cuda" and not machine.gpus:
        return Check(
            topic, "note", f"{len(trials)} trials; not possible here, because {tier.source} asks for a CUDA device"
        )
    return Check(topic, "fine", f"{len(trials)} trials, {expect(tier, trials, runs_at_hand(tier))}")


def _is_for_tests(tier: Tier) -> bool:
    return tier.source.startswith("tests/")
