"""Ablation 3: what the plan cache saves in a decode loop with a KV cache in the session's arena.

One sequence is decoded token by token in four ways that alternate: with an empty cache at its start (the first token
is cold, the others are warm), with the cache turned off (every token is simulated and planned), and natively, twice;
empty remote calls of a native token's length show the floor of any runtime in another process.
A token's time runs from the token id in host memory to its logits in host memory. Dispatch is the part of it that
decides what to send: simulation and planning when cold, a look-up when warm.
On CUDA the sequence is decoded by a native CUDA graph of one token's step too, the second native baseline.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

import torch

import djinn
from ablations.measurement.interleaving import DEFAULT_SETTLE_S, timer_floor_us
from ablations.measurement.journal import Journal
from ablations.measurement.progress import Progress
from ablations.models import KVCache, cache_bytes, make_cache, make_model
from ablations.settings import PlanCache, TrialSettings
from ablations.studies.native_graph import NativeGraph
from ablations.studies.on_device import DEVICE, make_remote_model, require_equal, running_runtime
from ablations.studies.results import Measured, require

_MIB = 1024**2
# Nothing is swapped here, and a host pool beside a GPU is locked in memory at the start.
_HOST_POOL_MB = 64

Token = dict[str, Any]


class DecodeLoop:
    """Decodes one fixed sequence again and again and compares every token's logits."""

    def __init__(self, study: PlanCache, seed: int, device: str) -> None:
        self._shape = study.model
        self._device = device
        generator = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(study.model.vocabulary, (study.tokens, 1, 1), generator=generator)
        self._remote = make_remote_model(study.model, seed=seed, device=device)
        self._native = make_model(study.model, seed=seed, device=device)
        self.native_us = 0.0
        positions = [torch.tensor([number]) for number in range(study.tokens)]
        self._positions = [position.to(device) for position in positions]
        self._remote_positions = [position.to(DEVICE) for position in positions]
        self._arena_mb = -(-cache_bytes(study.model) // _MIB) + 1
        cache = make_cache(self._shape, device=device)
        tokens = zip(self.tokens, self._positions, strict=True)
        self._expected = [self._native(token.to(device), place, cache).cpu() for token, place in tokens]
        self._graph_cache = make_cache(self._shape, device=device)
        self._graph: NativeGraph | None = None
        if device == "cuda":
            operands = self.tokens[0].to(device), self._positions[0]
            self._graph = NativeGraph(lambda token, place: self._native(token, place, self._graph_cache), operands)

    def decode_natively(self, arm: str) -> list[Token]:
        """Decode without the runtime."""
        cache = make_cache(self._shape, device=self._device)
        tokens = [
            self._native_token(number, arm, lambda token, place: self._native(token, place, cache))
            for number in range(len(self.tokens))
        ]
        self.native_us = statistics.median(token["token_us"] for token in tokens)
        return tokens

    @property
    def has_graph(self) -> bool:
        """Whether the device has a second native baseline."""
        return self._graph is not None

    def decode_by_graph(self) -> list[Token]:
        """Decode natively by one CUDA graph over a cache of its own."""
        assert self._graph is not None, "only CUDA has graphs"
        for keys, values in self._graph_cache:
            keys.zero_()
            values.zero_()
        return [self._native_token(number, "native_graph", self._graph) for number in range(len(self.tokens))]

    def decode_cached(self) -> list[Token]:
        """Decode with a plan cache that is empty at the start."""
        djinn.plan_cache.clear()
        with djinn.session(arena_mb=self._arena_mb):
            cache = make_cache(self._shape, device=DEVICE)
            return [
                self._remote_token(number, cache, "warm" if number else "cold") for number in range(len(self.tokens))
            ]

    def await_floor(self) -> list[Token]:
        """Make an empty remote call of a native token's length for each token."""
        return [
            _token(number, "floor", djinn.ping(self.native_us) - self.native_us) for number in range(len(self.tokens))
        ]

    def decode_uncached(self, num_tokens: int) -> list[Token]:
        """Decode the first tokens with the plan cache turned off."""
        with djinn.session(arena_mb=self._arena_mb), _cache_off():
            cache = make_cache(self._shape, device=DEVICE)
            return [self._remote_token(number, cache, "cache_off") for number in range(num_tokens)]

    def _native_token(self, number: int, arm: str, step: Callable[..., torch.Tensor]) -> Token:
        start_ns = perf_counter_ns()
        logits = step(self.tokens[number].to(self._device), self._positions[number]).cpu()
        end_ns = perf_counter_ns()
        require_equal(logits, self._expected[number], f"token {number}, decoded natively,")
        return _token(number, arm, (end_ns - start_ns) / 1e3)

    def _remote_token(self, number: int, cache: KVCache, arm: str) -> Token:
        start_ns = perf_counter_ns()
        token = self.tokens[number].to(DEVICE)
        logits = self._remote(token, self._remote_positions[number], cache)
        timestamps = djinn.last_call()
        logits = logits.cpu()
        end_ns = perf_counter_ns()
        assert timestamps is not None, "a call left no timestamps"
        expected_hit = {"cold": False, "warm": True, "cache_off": None}[arm]
        require(
            timestamps.planned and timestamps.cache_hit is expected_hit,
            f"a {arm} token had cache_hit={timestamps.cache_hit}",
        )
        require_equal(logits, self._expected[number], f"token {number}, {arm},")
        token_us = (end_ns - start_ns) / 1e3
        dispatch_us = timestamps.lookup_us + timestamps.simulate_us + timestamps.plan_us
        # A plan made earlier brings the times of its making along.
        require(dispatch_us < token_us, f"a {arm} token of {token_us:.0f} us had {dispatch_us:.0f} us of dispatch")
        compute_us = (timestamps.finished_ns - timestamps.started_ns) / 1e3
        return _token(number, arm, token_us, dispatch_us, compute_us)


def run_trial(settings: TrialSettings, variant: str, seed: int, progress: Progress, journal: Journal) -> Measured:
    """Decode `sequences` sequences in every way.

    Raises:
        MeasurementError: logits that differ, a cold token that hit, a warm token that missed, dispatch that
            is longer than its token, or counters that disagree.
    """
    study = settings.study
    assert isinstance(study, PlanCache), "the settings are another study's"
    generator = random.Random(seed)
    with running_runtime(settings, host_pool_mb=_HOST_POOL_MB), torch.no_grad():
        loop = DecodeLoop(study, seed, settings.device)
        loop.decode_cached()
        loop.decode_natively("native")
        before = djinn.stats()["plan_cache"]
        tokens: list[Token] = []
        for sequence in range(study.sequences):
            for decode in _arms(loop, study, generator):
                time.sleep(DEFAULT_SETTLE_S)
                tokens.extend({"sequence": sequence, **token} for token in decode())
            progress.update(sequence + 1, study.sequences)
        stats = djinn.stats()
    after = stats["plan_cache"]
    _check_counters({name: after[name] - before[name] for name in after}, tokens)
    checks = {"bit_exact": True, "cold_missed": True, "warm_hit": True, "counters_agree": True}
    counters = {"plan_cache": after, **{name: stats[name] for name in ("memory", "server", "fallbacks")}}
    return Measured(samples={"tokens": tokens, "timer_floor_us": timer_floor_us()}, counters=counters, checks=checks)


def _arms(loop: DecodeLoop, study: PlanCache, generator: random.Random) -> list[Callable[[], list[Token]]]:
    arms: list[Callable[[], list[Token]]] = [
        loop.decode_cached,
        lambda: loop.decode_uncached(min(study.uncached_tokens, study.tokens)),
        loop.await_floor,
        lambda: loop.decode_natively("native"),
        lambda: loop.decode_natively("native_again"),
    ]
    if loop.has_graph:
        arms.append(loop.decode_by_graph)
    generator.shuffle(arms)
    return arms


@contextmanager
def _cache_off() -> Iterator[None]:
    djinn.plan_cache.enabled = False
    try:
        yield
    finally:
        djinn.plan_cache.enabled = True


def _token(number: int, arm: str, token_us: float, dispatch_us: float = 0.0, compute_us: float | None = None) -> Token:
    return {"token": number, "arm": arm, "token_us": token_us, "dispatch_us": dispatch_us, "compute_us": compute_us}


def _check_counters(counted: dict[str, int], tokens: list[Token]) -> None:
    expected = {"misses": "cold", "hits": "warm", "bypassed": "cache_off"}
    for counter, arm in expected.items():
        num_tokens = sum(token["arm"] == arm for token in tokens)
        require(counted[counter] == num_tokens, f"{num_tokens} {arm} tokens caused {counted[counter]} {counter}")
