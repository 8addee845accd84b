"""Module calls become plans that are exact, never stale, and never shared by different models."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import djinn
from ablations.models import TransformerLayer, make_cache, make_model
from ablations.settings import ModelShape
from djinn.device import modules, turns
from djinn.device.planner import make_plan
from djinn.protocol.messages import DropPlans
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")
SHAPE = ModelShape(num_layers=2, d_model=32, num_heads=2, vocabulary=64, context=16)


@pytest.fixture(autouse=True)
def _fresh_cache() -> None:
    djinn.plan_cache.clear()


def _pair(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    import copy

    return module.eval(), copy.deepcopy(module).eval().to(DEVICE)


def _calls(module: nn.Module, *args: Any) -> tuple[torch.Tensor, bool | None]:
    with torch.no_grad():
        result = module(*args)
    timestamps = djinn.last_call()
    assert timestamps is not None
    assert timestamps.planned
    return result.cpu(), timestamps.cache_hit


def test_first_call_misses_and_later_calls_hit() -> None:
    """Both give the native result bit for bit."""
    native, remote = _pair(TransformerLayer(32, 2))
    for expected_hit in (False, True, True):
        x = torch.randn(1, 5, 32)
        with torch.no_grad():
            expected = native(x)
        result, hit = _calls(remote, x.to(DEVICE))
        assert hit is expected_hit
        assert torch.equal(result, expected)


def test_other_shapes_get_plans_of_their_own() -> None:
    """A plan holds for one shape."""
    native, remote = _pair(TransformerLayer(32, 2))
    for num_tokens, expected_hit in ((3, False), (4, False), (3, True)):
        x = torch.randn(1, num_tokens, 32)
        result, hit = _calls(remote, x.to(DEVICE))
        assert hit is expected_hit
        with torch.no_grad():
            assert torch.equal(result, native(x))


def test_decoding_with_a_cache_in_a_session() -> None:
    """One plan serves every token, and the cache in the session's arena is updated in place."""
    native, remote = make_model(SHAPE, seed=1), make_model(SHAPE, seed=1).to(DEVICE)
    with torch.no_grad(), djinn.session():
        cache, remote_cache = make_cache(SHAPE, device="cpu"), make_cache(SHAPE, device=DEVICE)
        for number in range(6):
            token, position = torch.tensor([[number * 7 % 64]]), torch.tensor([number])
            expected = native(token, position, cache)
            assert torch.equal(remote(token.to(DEVICE), position.to(DEVICE), remote_cache).cpu(), expected)
            timestamps = djinn.last_call()
            assert timestamps is not None
            assert timestamps.cache_hit is (number > 0)
        for (key, value), (remote_key, remote_value) in zip(cache, remote_cache, strict=True):
            assert torch.equal(remote_key.cpu(), key)
            assert torch.equal(remote_value.cpu(), value)


def test_sessions_share_plans() -> None:
    """Where a session's arena lies is no part of a plan's key."""
    remote = make_model(SHAPE, seed=1).to(DEVICE)
    hits = []
    with torch.no_grad():
        for _ in range(3):
            with djinn.session() as outer, djinn.session():
                assert outer.arena_bytes
                cache = make_cache(SHAPE, device=DEVICE)
                remote(torch.tensor([[1]]).to(DEVICE), torch.tensor([0]).to(DEVICE), cache)
                timestamps = djinn.last_call()
                assert timestamps is not None
                hits.append(timestamps.cache_hit)
    assert hits == [False, True, True]


def test_a_result_that_is_kept_is_not_overwritten() -> None:
    """Later calls of the same plan leave earlier results alone."""
    _, remote = _pair(nn.Linear(4, 4))
    with torch.no_grad():
        kept = remote(torch.ones(1, 4, device=DEVICE))
        before = kept.cpu()
        for _ in range(3):
            remote(torch.zeros(1, 4, device=DEVICE))
    assert torch.equal(kept.cpu(), before)


def test_weights_changed_in_place_are_seen() -> None:
    """No plan holds a copy of a weight."""
    native, remote = _pair(nn.Linear(4, 4))
    x = torch.randn(2, 4)
    _calls(remote, x.to(DEVICE))
    with torch.no_grad():
        native.weight.mul_(2)
        remote.weight.mul_(2)
        assert torch.equal(_calls(remote, x.to(DEVICE))[0], native(x))


def test_two_models_never_share_a_plan() -> None:
    """Equal architectures, different weights."""
    native_a, remote_a = _pair(nn.Linear(4, 4))
    native_b, remote_b = _pair(nn.Linear(4, 4))
    x = torch.randn(2, 4)
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(_calls(remote_a, x.to(DEVICE))[0], native_a(x))
            assert torch.equal(_calls(remote_b, x.to(DEVICE))[0], native_b(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.train(),
        lambda m: setattr(m, "0", nn.Linear(4, 4, bias=False).requires_grad_(False).to(m[0].weight.device)),
        lambda m: setattr(m[1], "negative_slope", 0.5),
        lambda m: m.append(nn.Tanh()),
        lambda m: setattr(m[0], "bias", None),
    ],
    ids=["train", "replaced", "attribute", "appended", "parameter removed"],
)
def test_a_changed_module_gets_a_new_plan(change: Any) -> None:
    """Never a stale plan, whatever was changed."""
    torch.manual_seed(0)
    _, remote = _pair(nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(), nn.Dropout(0.5)))
    x = torch.randn(2, 4).to(DEVICE)
    _calls(remote, x)
    assert _calls(remote, x)[1] is True
    change(remote)
    assert _calls(remote, x)[1] is False


def test_dropout_in_training_draws_anew_at_each_call() -> None:
    """A plan replays operations, not results."""
    remote = nn.Dropout(0.5).train()
    module = nn.Sequential(nn.Linear(64, 64), remote).to(DEVICE).train()
    x = torch.ones(1, 64, device=DEVICE)
    assert not torch.equal(_calls(module, x)[0], _calls(module, x)[0])


def test_batch_norm_updates_its_buffers() -> None:
    """Buffers changed by the call are changed on the device."""
    native, remote = _pair(nn.BatchNorm1d(3))
    native.train()
    remote.train()
    with torch.no_grad():
        for _ in range(3):
            x = torch.randn(5, 3)
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
    assert torch.equal(remote.running_mean.cpu(), native.running_mean)
    assert remote.num_batches_tracked.item() == 3


@dataclass
class Pair:
    """A structured argument and result."""

    left: torch.Tensor
    right: torch.Tensor | None


class Nested(nn.Module):
    """Takes and returns containers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, pair: Pair, *, scale: float = 1.0, extra: dict[str, torch.Tensor] | None = None) -> Any:
        """Return a nested structure."""
        left = self.linear(pair.left) * scale
        return {"left": (left, None), "extra": [value + left for value in (extra or {}).values()], "scale": scale}


def test_nested_arguments_and_results() -> None:
    """Tuples, lists, dictionaries, dataclasses, keywords and None go in and come out."""
    native, remote = _pair(Nested())
    x, y = torch.randn(2, 3), torch.randn(2, 3)
    with torch.no_grad():
        for scale in (1.0, 2.0, 2.0):
            expected = native(Pair(x, None), scale=scale, extra={"y": y})
            actual = remote(Pair(x.to(DEVICE), None), scale=scale, extra={"y": y.to(DEVICE)})
            assert actual["scale"] == scale
            assert actual["left"][1] is None
            assert torch.equal(actual["left"][0].cpu(), expected["left"][0])
            assert torch.equal(actual["extra"][0].cpu(), expected["extra"][0])


def test_tied_weights_stay_tied() -> None:
    """One tensor under two names is one weight."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    native, remote = _pair(model)
    assert remote[0].weight is remote[1].weight
    x = torch.randn(2, 4)
    with torch.no_grad():
        remote[0].weight.add_(1)
        native[0].weight.add_(1)
        assert torch.equal(_calls(remote, x.to(DEVICE))[0], native(x))


def test_what_cannot_be_planned_runs_singly_and_says_why() -> None:
    """Autograd, hooks and data-dependent control flow keep their meaning; `stats` names the reason."""

    class Branching(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if x.sum() > 0 else -x

    native, remote = _pair(Branching(3, 3))
    with torch.no_grad():
        for x in (torch.ones(1, 3), -torch.ones(1, 3)):
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
    native, remote = _pair(nn.Linear(3, 3))
    remote(torch.ones(1, 3, device=DEVICE)).sum().backward()
    native(torch.ones(1, 3)).sum().backward()
    assert torch.equal(remote.weight.grad.cpu(), native.weight.grad)
    seen = []
    remote.register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        remote(torch.ones(1, 3, device=DEVICE))
    assert seen == [1]
    reasons = " ".join(djinn.stats()["fallbacks"])
    assert "autograd" in reasons
    assert "hooks" in reasons


def test_cache_off_plans_every_call() -> None:
    """The switch of ablation 3: still exact, kept plans neither found nor used, nothing left on the server."""
    native, remote = _pair(nn.Linear(4, 4))
    x = torch.randn(2, 4)
    _calls(remote, x.to(DEVICE))
    kept = djinn.stats()["client"]["num_plans"]
    before = djinn.stats()["plan_cache"]["bypassed"]
    djinn.plan_cache.enabled = False
    try:
        for _ in range(3):
            result, hit = _calls(remote, x.to(DEVICE))
            assert hit is None
            with torch.no_grad():
                assert torch.equal(result, native(x))
    finally:
        djinn.plan_cache.enabled = True
    stats = djinn.stats()
    assert stats["plan_cache"]["bypassed"] - before == 3
    assert stats["client"]["num_plans"] == kept == 1
    assert _calls(remote, x.to(DEVICE))[1] is True


def test_a_plan_that_the_server_dropped_is_rebuilt_unnoticed() -> None:
    """The caller gets its result; only the counters tell."""
    native, remote = _pair(nn.Linear(4, 4))
    x = torch.randn(2, 4)
    _calls(remote, x.to(DEVICE))
    for plan in djinn.plan_cache.entries():
        plan.client.request(DropPlans(plan_ids=[plan.plan_id]))
    with torch.no_grad():
        expected = native(x)
    result, hit = _calls(remote, x.to(DEVICE))
    assert hit is False
    assert torch.equal(result, expected)
    assert _calls(remote, x.to(DEVICE))[1] is True


def test_when_every_plan_is_void_operations_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if other threads made so many plans meanwhile that the server drops each before its first call."""
    native, remote = _pair(TransformerLayer(32, 2))
    x = torch.randn(1, 5, 32)

    def make_dropped_plan(*args: Any) -> Any:
        plan = make_plan(*args)
        plan.client.request(DropPlans(plan_ids=[plan.plan_id]))
        return plan

    monkeypatch.setattr(modules, "make_plan", make_dropped_plan)
    with torch.no_grad():
        assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
    assert "the call's plans were void before they were executed" in djinn.stats()["fallbacks"]


def test_plans_report_their_peak_beside_its_bound() -> None:
    """On the study's models the planner reaches what no plan can undercut."""
    remote = make_model(SHAPE, seed=3).to(DEVICE)
    with torch.no_grad():
        remote(torch.arange(8)[None].to(DEVICE), torch.arange(8).to(DEVICE))
    [plan] = [plan for plan in djinn.stats()["plans"] if plan["module"] == "DecoderModel"]
    assert plan["peak_bytes"] == plan["lower_bound_bytes"] > 0
    assert plan["num_operations"] > 20


def test_threads_may_plan_at_the_same_time() -> None:
    """Each gets the results of its own calls."""
    model = make_model(SHAPE, seed=2)
    remote = make_model(SHAPE, seed=2).to(DEVICE)
    failures: list[BaseException] = []

    def call(num_tokens: int) -> None:
        try:
            with torch.no_grad():
                tokens, positions = torch.arange(num_tokens)[None], torch.arange(num_tokens)
                for _ in range(3):
                    result = remote(tokens.to(DEVICE), positions.to(DEVICE)).cpu()
                    assert torch.equal(result, model(tokens, positions))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(1 + number % 5,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_threads_that_miss_at_the_same_time_share_one_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for another's simulation takes its plan; a second one would drop what the first executes."""
    native, remote = _pair(nn.Linear(4, 4))
    x, made, results = torch.randn(2, 4), [], []
    monkeypatch.setattr(modules, "make_plan", lambda *args: (made.append(1), make_plan(*args))[1])

    def call() -> None:
        with torch.no_grad():
            results.append(remote(x.to(DEVICE)).cpu())

    with torch.no_grad():
        remote(x[:1].to(DEVICE))
        expected = native(x)
    threads = [threading.Thread(target=call) for _ in range(4)]
    misses = djinn.plan_cache.misses
    with turns._simulation_lock:
        for thread in threads:
            thread.start()
        while djinn.plan_cache.misses < misses + 4:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert len(results) == 4
    assert all(torch.equal(result, expected) for result in results)


def test_freed_tensors_are_freed_on_the_server() -> None:
    """Results that nobody holds do not pile up."""
    _, remote = _pair(nn.Linear(4, 4))
    x = torch.randn(2, 4).to(DEVICE)
    _calls(remote, x)
    before = djinn.stats()["client"]["num_tensors"]
    for _ in range(50):
        _calls(remote, x)
    assert djinn.stats()["client"]["num_tensors"] <= before + 2


@pytest.mark.parametrize("write", [lambda y: y.add_(1), lambda y: y[0].add_(1), lambda y: y.view(-1)[:2].mul_(3)])
def test_a_result_that_came_along_is_never_stale(write: Any) -> None:
    """Written to directly or through an alias after the call, it is read anew."""
    native, remote = _pair(nn.Linear(4, 4))
    x = torch.randn(2, 4)
    with torch.no_grad():
        expected = native(x)
        for _ in range(2):
            assert torch.equal(remote(x.to(DEVICE)).cpu(), expected)
        actual = remote(x.to(DEVICE))
        write(actual)
        write(expected)
        assert torch.equal(actual.cpu(), expected)


def test_fetched_results_belong_to_their_caller() -> None:
    """Changing one copy on the host changes neither the device nor the next copy."""
    native, remote = _pair(nn.Linear(4, 4))
    x = torch.randn(2, 4)
    with torch.no_grad():
        for _ in range(3):
            result = remote(x.to(DEVICE))
            result.cpu().zero_()
            assert torch.equal(result.cpu(), native(x))


def _gradient_of(held: torch.Tensor) -> torch.Tensor:
    """Return what autograd computes from the operand that it saved."""
    [(weight, _), _] = held.grad_fn.next_functions
    with torch.enable_grad():
        return torch.autograd.grad(held.sum(), weight.variable, retain_graph=True)[0]


@pytest.mark.parametrize(
    ("hold", "read"),
    [
        (lambda host: host, torch.sum),
        (lambda host: host.view(-1)[5:], torch.sum),
        (lambda host: host.numpy(), np.sum),
        (lambda host: memoryview(host.numpy()), np.sum),
        (lambda host: nn.Parameter(torch.ones(())) * host, _gradient_of),
    ],
    ids=["tensor", "view", "array", "memory", "autograd"],
)
def test_host_memory_of_large_results_is_used_again_once_nobody_holds_it(hold: Any, read: Any) -> None:
    """However the caller holds a fetched result, later ones leave it alone."""
    native, remote = _pair(nn.Linear(8, 256))
    x = torch.randn(128, 8)
    with torch.no_grad():
        for _ in range(3):
            fetched = remote(x.to(DEVICE)).cpu()
        with torch.enable_grad():
            held = hold(fetched)
        address = fetched.data_ptr()
        del fetched
        before = read(held)
        assert remote(torch.randn(128, 8).to(DEVICE)).cpu().data_ptr() != address
        assert read(held) == before
        del held
        addresses = {remote(x.to(DEVICE)).cpu().data_ptr() for _ in range(8)}
        assert len(addresses) <= 2, "one for a result that is held, one that is ready for the next"
        assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))


def test_a_result_written_by_a_later_plan_is_read_anew() -> None:
    """A plan that writes its argument invalidates what came along with an earlier one."""

    class Bump(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("one", torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.add_(self.one).sum()

    native, remote = _pair(nn.Linear(4, 4))
    bump = Bump().to(DEVICE)
    x = torch.randn(2, 4)
    with torch.no_grad():
        for _ in range(3):
            result = remote(x.to(DEVICE))
            bump(result)
            assert torch.equal(result.cpu(), native(x) + 1)


class _Shifted(nn.Linear):
    """Does something around its forward."""

    def __call__(self, value: torch.Tensor) -> Any:
        """Add one."""
        return super().__call__(value) + 1


@pytest.mark.parametrize("wrap", [lambda inner: inner, nn.Sequential], ids=["itself", "inside another"])
def test_what_a_class_does_in_its_own_call_is_done_once(wrap: Any) -> None:
    """Around the plan where it is the module that is called, as part of the plan where a module calls it."""
    native, remote = _pair(wrap(_Shifted(3, 3)))
    hits = djinn.plan_cache.hits
    for _ in range(3):
        x = torch.randn(2, 3)
        with torch.no_grad():
            assert torch.equal(remote(x.to(DEVICE)).cpu(), native(x))
    assert djinn.plan_cache.hits == hits + 2


class _Counting(nn.Linear):
    """Counts what it was trained with."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.num_seen = 0

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Count in training."""
        if self.training:
            self.num_seen += 1
        return super().forward(value)


def test_changes_in_training_are_no_reason_to_plan_nothing_in_evaluation() -> None:
    """However many there were, and they are all made."""
    module = _Counting().to(DEVICE).train()
    x = torch.randn(2, 3).to(DEVICE)
    with torch.no_grad():
        for _ in range(8):
            module(x)
    assert module.num_seen == 8
    module.eval()
    assert [_calls(module, x)[1] for _ in range(2)] == [False, True]
    assert module.num_seen == 8
