"""Ablation 1: how much latency the runtime's interposition adds to an operation, a layer and a forward pass.

A sample is one module call whose weights and operands already lie where they are used, together with fetching its
result to host memory: `module(x)` natively, `module(x_remote).cpu()` through Djinn. Fetching is what makes the remote
call synchronous, and it is charged to Djinn alone.

On CUDA neither result is fetched, since the copy would take longer than a layer does: a sample ends when the result is
complete on the device, natively after a synchronisation, through Djinn with the reply. A second native baseline there is
the same module as a CUDA graph over static operands.

An empty remote call of the same length shows the floor: what the machine asks of any runtime in another process.
Every block begins with calls that are no samples, because both processes slept in the pause before it: with one such
call, the first samples of a block still took half as long again as the later ones, natively and through Djinn alike.

Every result is compared with the expected one, bit for bit: at once on the host, which takes microseconds, and after the
block on CUDA, where fetching one takes longer than the layer that made it, for which the server would have gone to sleep.
Of the native graph's results that is the last one of each block, since each replay overwrites the one before.

The smallest scale is `torch.add` on 1x1. Plans belong to modules, so it is wrapped in one whose only state is the
other operand; natively the same module is called.
"""

from __future__ import annotations

import statistics
from functools import partial
from time import perf_counter_ns
from typing import Any

import torch
from torch import nn

import djinn
from ablations.measurement.interleaving import Arm, alternate, timer_floor_us
from ablations.measurement.journal import Journal
from ablations.measurement.progress import Progress
from ablations.models import TransformerLayer, drawing_weights, dtype_of, make_model
from ablations.settings import OsTax, Sampling, TrialSettings
from ablations.studies.native_graph import NativeGraph
from ablations.studies.on_device import DEVICE, await_device, make_remote_model, require_equal, running_runtime
from ablations.studies.results import Measured, require

# Nothing is swapped here, and a host pool beside a GPU is locked in memory at the start.
_HOST_POOL_MB = 64
PARTS = ("serialize", "dispatch", "compute", "result")


class Add(nn.Module):
    """`torch.add` with its second operand as a buffer."""

    other: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("other", torch.ones(1, 1))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum, (1, 1)."""
        return torch.add(value, self.other)


class Subject:
    """A module and its operands, natively and on the device, with the expected result."""

    def __init__(self, study: OsTax, variant: str, seed: int, device: str) -> None:
        self.device = device
        self.remote = _make_remote(study, variant, seed, device)
        self.native, operands = make_module(study, variant, seed, device)
        self.operands = operands
        self.remote_operands = tuple(operand.cpu().to(DEVICE) for operand in operands)
        self.graph = NativeGraph(self.native, operands) if device == "cuda" else None
        self.expected = self.native(*operands).cpu()
        self._unchecked: list[tuple[torch.Tensor, str]] = []
        self.native_us = 0.0
        self.parts: dict[str, dict[str, list[float]]] = {
            "warm": {part: [] for part in PARTS},
            "cold": {part: [] for part in (*PARTS, "simulate", "plan")},
        }

    def call_native(self) -> int:
        """Return the nanoseconds of one native call."""
        start_ns = perf_counter_ns()
        result = self.native(*self.operands)
        await_device(self.device)
        end_ns = perf_counter_ns()
        self._expect(result, "a native result")
        return end_ns - start_ns

    def call_graph(self) -> int:
        """Return the nanoseconds of one replay of the native CUDA graph, whose result the next one overwrites."""
        assert self.graph is not None, "only CUDA has graphs"
        start_ns = perf_counter_ns()
        result = self.graph(*self.operands)
        await_device(self.device)
        end_ns = perf_counter_ns()
        self._expect(result, "a native graph's result")
        return end_ns - start_ns

    def call_warm(self) -> int:
        """Return the nanoseconds of one call whose plan is cached."""
        total_ns, timestamps = self._call_remote("warm")
        require(timestamps.cache_hit is True, "a warm call missed the plan cache")
        return total_ns

    def call_cold(self) -> int:
        """Return the nanoseconds of one call after the plan cache was emptied."""
        djinn.plan_cache.clear()
        total_ns, timestamps = self._call_remote("cold")
        require(timestamps.cache_hit is False, "a cold call hit the plan cache")
        self.parts["cold"]["simulate"].append(timestamps.simulate_us)
        self.parts["cold"]["plan"].append(timestamps.plan_us)
        return total_ns

    def call_floor(self) -> int:
        """Return the nanoseconds that an empty remote call of a native call's length takes beyond that length."""
        return int((djinn.ping(self.native_us) - self.native_us) * 1e3)

    def lead_in_remote(self) -> int:
        """Return the nanoseconds of a warm call that belongs to no arm."""
        start_ns = perf_counter_ns()
        result = self.remote(*self.remote_operands)
        if self.device == "cpu":
            result.cpu()
        return perf_counter_ns() - start_ns

    def _call_remote(self, kind: str) -> tuple[int, djinn.CallTimestamps]:
        start_ns = perf_counter_ns()
        result = self.remote(*self.remote_operands)
        if self.device == "cpu":
            result = result.cpu()
        end_ns = perf_counter_ns()
        timestamps = djinn.last_call()
        assert timestamps is not None, "a call left no timestamps"
        require(timestamps.planned, "a module call ran without a plan")
        self._expect(result, f"a {kind} result")
        passed = (start_ns, timestamps.sent_ns, timestamps.started_ns, timestamps.finished_ns, end_ns)
        parts = self.parts[kind]
        for part, begin, end in zip(PARTS, passed, passed[1:], strict=False):
            parts[part].append((end - begin) / 1e3)
        return end_ns - start_ns, timestamps

    def _expect(self, result: torch.Tensor, what: str) -> None:
        self._unchecked.append((result, what))
        if self.device == "cpu":
            self.check_results()

    def check_results(self) -> None:
        """Compare what was not compared yet with the expected result.

        Raises:
            MeasurementError: they differ.
        """
        results, self._unchecked = self._unchecked, []
        for result, what in results:
            # A copy is fetched on CUDA: fetching the result itself would make the next one come along with its call.
            require_equal(result if self.device == "cpu" else result.clone(), self.expected, what)


def run_trial(settings: TrialSettings, variant: str, seed: int, progress: Progress, journal: Journal) -> Measured:
    """Measure one scale: native twice (the second is the A/A arm), warm and cold calls, alternating.

    Raises:
        MeasurementError: a result that differs, a warm call that missed, a cold call that hit, or a breakdown that
            does not add up within 5 %.
    """
    study = settings.study
    assert isinstance(study, OsTax), "the settings are another study's"
    sampling: Sampling = getattr(study, variant)
    with running_runtime(settings, host_pool_mb=_HOST_POOL_MB), torch.no_grad():
        subject = Subject(study, variant, seed, settings.device)
        warmup_us = _warm_up(subject, study.warmup)
        before = djinn.stats()["plan_cache"]
        arms = _arms(subject, sampling)
        order = alternate(
            list(arms.values()),
            rounds=sampling.rounds,
            seed=seed,
            on_round=lambda done: progress.update(done, sampling.rounds),
        )
        stats = djinn.stats()
    _check_counters(before, stats["plan_cache"], arms)
    samples: dict[str, Any] = {f"{name}_us": arm.samples_us for name, arm in arms.items()}
    samples["lead_in_us"] = {name: arm.lead_in_us for name, arm in arms.items()}
    samples["warm_breakdown_us"] = subject.parts["warm"]
    samples["cold_breakdown_us"] = subject.parts["cold"]
    samples |= {"order": order, "block": sampling.block, "warmup_us": warmup_us, "timer_floor_us": timer_floor_us()}
    _check_sums(samples["djinn_warm_us"], subject.parts["warm"])
    checks = {"bit_exact": True, "warm_hit": True, "cold_missed": True, "breakdown_adds_up": True}
    return Measured(
        samples=samples, counters={name: stats[name] for name in ("plan_cache", "memory", "server")}, checks=checks
    )


def _arms(subject: Subject, sampling: Sampling) -> dict[str, Arm]:
    arm = partial(Arm, num_lead_ins=sampling.lead_in, after_block=subject.check_results)
    arms = [
        arm("native", subject.call_native, sampling.block, lead_in=subject.call_native),
        arm("native_again", subject.call_native, sampling.block, lead_in=subject.call_native),
        arm("djinn_warm", subject.call_warm, sampling.block, lead_in=subject.lead_in_remote),
        arm("djinn_cold", subject.call_cold, max_blocks=sampling.cold, lead_in=subject.lead_in_remote),
        arm("floor", subject.call_floor, sampling.block, lead_in=subject.lead_in_remote),
    ]
    if subject.graph is not None:
        arms.append(arm("native_graph", subject.call_graph, sampling.block, lead_in=subject.call_graph))
    return {arm.name: arm for arm in arms}


def make_module(
    study: OsTax, variant: str, seed: int, device: str = "cpu"
) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Return the module of one scale and its operands on `device`, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    if variant == "micro_add":
        return Add().to(device), (torch.rand(1, 1, generator=generator).to(device),)
    if variant in ("layer_one_token", "transformer_layer"):
        shape = study.layer
        num_tokens = 1 if variant == "layer_one_token" else shape.num_tokens
        hidden = torch.randn(1, num_tokens, shape.d_model, generator=generator)
        with drawing_weights(shape.dtype, seed=seed, device=device):
            layer = TransformerLayer(shape.d_model, shape.num_heads).eval().requires_grad_(False)
        return layer, (hidden.to(device, dtype_of(shape.dtype)),)
    forward = study.forward
    tokens = torch.randint(forward.model.vocabulary, (1, forward.num_tokens), generator=generator)
    operands = tokens.to(device), torch.arange(forward.num_tokens, device=device)
    return make_model(forward.model, seed=seed, device=device), operands


def _make_remote(study: OsTax, variant: str, seed: int, device: str) -> nn.Module:
    if variant == "full_forward":
        return make_remote_model(study.forward.model, seed=seed, device=device)
    return make_module(study, variant, seed, device)[0].cpu().to(DEVICE)


def _warm_up(subject: Subject, num_calls: int) -> dict[str, list[float]]:
    """Call both arms untimed, so that imports, page faults and caches are settled; keep what the clock showed."""
    native = [subject.call_native() / 1e3 for _ in range(num_calls)]
    remote = [subject.call_cold() / 1e3, *(subject.call_warm() / 1e3 for _ in range(num_calls))]
    for kinds in subject.parts.values():
        for values in kinds.values():
            values.clear()
    subject.check_results()
    subject.native_us = statistics.median(native)
    return {"native": native, "djinn": remote}


def _check_counters(before: dict[str, int], after: dict[str, int], arms: dict[str, Arm]) -> None:
    misses, hits = after["misses"] - before["misses"], after["hits"] - before["hits"]
    num_cold = len(arms["djinn_cold"].samples_us)
    num_lead_ins = sum(len(arms[name].lead_in_us) for name in ("djinn_warm", "djinn_cold", "floor"))
    num_warm = len(arms["djinn_warm"].samples_us) + num_lead_ins
    require(misses == num_cold, f"{num_cold} cold calls caused {misses} misses")
    require(hits == num_warm, f"{num_warm} warm calls caused {hits} hits")


def _check_sums(totals_us: list[float], parts: dict[str, list[float]]) -> None:
    for number, total_us in enumerate(totals_us):
        sum_us = sum(parts[part][number] for part in PARTS)
        require(
            abs(sum_us - total_us) <= 0.05 * total_us, f"a breakdown of {sum_us:.1f} us for a call of {total_us:.1f} us"
        )
