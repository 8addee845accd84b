"""Beside the ablations: the operations of ablation 1 through what a user would pick instead of Djinn.

Native PyTorch and `torch.compile` compute in this process; Djinn, `torch.distributed.rpc` and a Ray actor in another one
on this machine, each with the module there and operands and result here. A sample runs from operands in host memory to
the result in host memory, for Djinn too, whose operands are uploaded with the call. Arms alternate in one process, but for
RPC: its transport polls without pause in both processes, each on a whole core, so it would slow every other arm. It is
measured after them, beside native PyTorch again, which shows what the polling costs whatever runs beside it.
"""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import torch
from torch import nn

from ablations.errors import MeasurementError
from ablations.measurement.interleaving import Arm, alternate, timer_floor_us
from ablations.measurement.journal import Journal
from ablations.measurement.progress import Progress
from ablations.settings import OsTax, Sampling, TrialSettings
from ablations.studies.on_device import DEVICE, require_equal, running_runtime
from ablations.studies.os_tax import make_module
from ablations.studies.results import Measured, require

Call = Callable[..., torch.Tensor]

# Compiled code may round differently; how far it lies from eager PyTorch is recorded.
_COMPILED_TOLERANCE = 1e-3
_served: dict[str, nn.Module] = {}


def run_trial(settings: TrialSettings, variant: str, seed: int, progress: Progress, journal: Journal) -> Measured:
    """Measure one operation through every peer.

    Raises:
        MeasurementError: a peer that is not installed, or a result that differs.
    """
    study = settings.study
    assert isinstance(study, OsTax), "the settings are another study's"
    sampling: Sampling = getattr(study, variant)
    native, operands = make_module(study, variant, seed)
    with torch.no_grad():
        rounds = _Rounds(operands, native(*operands), study.warmup, sampling, seed, progress)
        with ExitStack() as peers:
            calls: dict[str, Call] = {"native": native, "compiled": torch.compile(native)}
            calls["djinn"] = _djinn(peers, settings, variant, seed)
            calls["ray"] = peers.enter_context(_ray_peer(study, variant, seed))
            rounds.measure(calls)
        with _rpc_peer(study, variant, seed) as call:
            rounds.measure({"native_beside_rpc": native, "rpc": call})
    samples: dict[str, Any] = {f"{arm.name}_us": arm.samples_us for arm in rounds.arms}
    samples |= {"order": rounds.order, "compiled_distance": rounds.compiled_distance}
    samples["timer_floor_us"] = timer_floor_us()
    return Measured(samples=samples, checks={"bit_exact": True, "compiled_is_close": True})


class _Rounds:
    """Measures sets of arms, one set after the other.

    Attributes:
        arms: of all sets.
        order: turns as they ran.
        compiled_distance: how far compiled code lies from eager PyTorch.
    """

    def __init__(
        self,
        operands: tuple[torch.Tensor, ...],
        expected: torch.Tensor,
        warmup: int,
        sampling: Sampling,
        seed: int,
        progress: Progress,
    ) -> None:
        self.arms: list[Arm] = []
        self.order: list[str] = []
        self.compiled_distance = 0.0
        self._operands = operands
        self._expected = expected
        self._warmup = warmup
        self._sampling = sampling
        self._seed = seed
        self._progress = progress

    def measure(self, calls: dict[str, Call]) -> None:
        """Warm every arm up and let them alternate."""
        for call in calls.values():
            for _ in range(self._warmup + 1):
                call(*self._operands)
        if "compiled" in calls:
            self.compiled_distance = float((calls["compiled"](*self._operands) - self._expected).abs().max())
            is_close = self.compiled_distance <= _COMPILED_TOLERANCE
            require(is_close, f"compiled code lies {self.compiled_distance} from eager PyTorch")
        self._progress.note(f"{', '.join(calls)} are ready")
        timed = {name: _timed(call, self._operands, self._expected, name) for name, call in calls.items()}
        block, num_lead_ins = self._sampling.block, self._sampling.lead_in
        arms = [Arm(name, call, block, lead_in=call, num_lead_ins=num_lead_ins) for name, call in timed.items()]
        num_rounds = self._sampling.rounds
        self.order += alternate(
            arms, rounds=num_rounds, seed=self._seed, on_round=lambda done: self._progress.update(done, num_rounds)
        )
        self.arms += arms


def _timed(call: Call, operands: tuple[torch.Tensor, ...], expected: torch.Tensor, name: str) -> Callable[[], int]:
    def timed() -> int:
        start_ns = perf_counter_ns()
        result = call(*operands)
        end_ns = perf_counter_ns()
        if name != "compiled":
            require_equal(result, expected, f"a result of {name}")
        return end_ns - start_ns

    return timed


def _djinn(peers: ExitStack, settings: TrialSettings, variant: str, seed: int) -> Call:
    study = settings.study
    assert isinstance(study, OsTax), "the settings are another study's"
    peers.enter_context(running_runtime(settings))
    remote = make_module(study, variant, seed)[0].to(DEVICE)
    return lambda *operands: remote(*(operand.to(DEVICE) for operand in operands)).cpu()


@contextmanager
def _rpc_peer(study: OsTax, variant: str, seed: int) -> Iterator[Call]:
    """Serve the module by `torch.distributed.rpc` over TensorPipe."""
    from torch.distributed import rpc

    with tempfile.TemporaryDirectory() as folder:
        rendezvous = f"file://{Path(folder) / 'rendezvous'}"
        process = multiprocessing.get_context("spawn").Process(
            target=_serve_rpc, args=(rendezvous, study, variant, seed, torch.get_num_threads()), daemon=True
        )
        process.start()
        rpc.init_rpc("client", rank=0, world_size=2, rpc_backend_options=_rpc_options(rendezvous))
        try:
            yield lambda *operands: rpc.rpc_sync("server", _call_served, args=operands)
        finally:
            rpc.shutdown()
            process.join()


def _rpc_options(rendezvous: str) -> Any:
    from torch.distributed import rpc

    return rpc.TensorPipeRpcBackendOptions(init_method=rendezvous, num_worker_threads=2)


def _serve_rpc(rendezvous: str, study: OsTax, variant: str, seed: int, num_threads: int) -> None:
    from torch.distributed import rpc

    _load(study, variant, seed, num_threads)
    rpc.init_rpc("server", rank=1, world_size=2, rpc_backend_options=_rpc_options(rendezvous))
    rpc.shutdown()


def _load(study: OsTax, variant: str, seed: int, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    _served["module"] = make_module(study, variant, seed)[0]


def _call_served(*operands: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = _served["module"](*operands)
        return result


class _RayServer:
    """The actor's class."""

    def __init__(self, study: OsTax, variant: str, seed: int, num_threads: int) -> None:
        _load(study, variant, seed, num_threads)

    def call(self, *operands: torch.Tensor) -> torch.Tensor:
        """Call the module."""
        return _call_served(*operands)


@contextmanager
def _ray_peer(study: OsTax, variant: str, seed: int) -> Iterator[Call]:
    """Serve the module by a Ray actor."""
    try:
        import ray
    except ImportError as error:
        raise MeasurementError(
            "The peer ray is not installed; install envs/requirements-peers.txt before measuring peers."
        ) from error
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        actor: Any = ray.remote(_RayServer).remote(study, variant, seed, torch.get_num_threads())

        def call(*operands: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = ray.get(actor.call.remote(*operands))
            return result

        yield call
    finally:
        ray.shutdown()
