"""Calls that are sent before it is known whether they may be: withdrawn, late or confirmed, nothing shows but the time they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import djinn
from djinn.client import runtime as client_runtime
from djinn.device.early_calls import EarlyCalls
from djinn.device.execution import Execution
from djinn.protocol import messages as m
from support import DEVICE, run_by_turns

pytestmark = pytest.mark.usefixtures("runtime", "sent")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Execution]:
    """The early calls of a test, as they are sent."""
    noted: list[Execution] = []
    send = EarlyCalls.send

    def note(calls: EarlyCalls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Execution | None:
        execution = send(calls, args, kwargs)
        noted.extend([] if execution is None else [execution])
        return execution

    monkeypatch.setattr(EarlyCalls, "send", note)
    return noted


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    djinn.plan_cache.clear()
    with torch.no_grad():
        yield


class _Scaled(nn.Module):
    """Multiplies by what it keeps."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), 3.0))
        self.factor: Any = 2.0
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        result: torch.Tensor = value * self.weight * float(self.factor)
        return result


def _warm(module: nn.Module, *arguments: torch.Tensor) -> None:
    """Call it until its calls are sent early."""
    for _ in range(3):
        module(*arguments)


def _make_looked_at() -> tuple[nn.Module, torch.Tensor, Any]:
    """Return a module whose next call is sent early, what to call it on, and what looks at the module then."""
    module, value = _Scaled().to(DEVICE), torch.ones(4, device=DEVICE) + 0
    _warm(module, value)
    return module, value, module._compiled_call_impl._descriptions  # type: ignore[union-attr]


def _num_tensors() -> int:
    return int(djinn.stats()["client"]["num_tensors"])


def _calls_of(module: nn.Module) -> EarlyCalls:
    calls: EarlyCalls = module._compiled_call_impl._early_calls  # type: ignore[union-attr]
    return calls


def test_a_call_like_the_last_one_is_sent_before_its_module_is_looked_at(
    sent: list[Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its result is that call's."""
    module = _Scaled().to(DEVICE)
    _warm(module, torch.ones(4, device=DEVICE))
    sent.clear()
    number_when_looked_at: list[int] = []
    descriptions = module._compiled_call_impl._descriptions  # type: ignore[union-attr]
    current = descriptions.current
    monkeypatch.setattr(descriptions, "current", lambda m: (number_when_looked_at.append(len(sent)), current(m))[1])
    assert module(torch.full((4,), 5.0, device=DEVICE) + 1).tolist() == [36.0] * 4
    assert number_when_looked_at[-1] == len(sent) == 1
    # What the server does not hold yet goes along.
    assert module(torch.full((4,), 5.0).to(DEVICE)).tolist() == [30.0] * 4
    assert len(sent) == 2


class _Written(nn.Module):
    """Writes to what it is passed."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return twice what is there afterwards."""
        return value.add_(1).mul(2)


class _Cached(nn.Module):
    """Adds to what a cache holds, and returns all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.step = 1.0

    def forward(self, value: torch.Tensor, cache: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """Write to every tensor of the cache."""
        for number, (keys, values) in enumerate(cache):
            keys.add_(value * self.weight * self.step)
            values.add_(value + number)
        return torch.stack([tensor.clone() for pair in cache for tensor in pair])


def _make_cache(device: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.zeros(2, device=device), torch.zeros(2, device=device)) for _ in range(3)]


def _token(number: int, device: str) -> torch.Tensor:
    return torch.tensor([float(number), 1.0]).to(device)


def test_a_cache_is_written_once_by_each_call(sent: list[Execution]) -> None:
    """Whatever a caller does to the list that it passes, and to its module, between two early calls."""

    def decode(module: _Cached, device: str) -> list[Any]:
        cache, spare = _make_cache(device), _make_cache(device)
        results = []
        for number in range(40):
            if number == 12:
                cache[0], cache[2] = cache[2], cache[0]
            if number == 16:
                cache[1] = spare[1]
            if number == 20:
                module.step = 3.0
            if number == 24:
                cache[0][0].zero_()
            if number == 28:
                cache = spare
            if number == 32:
                cache[0] = (cache[0][1], cache[0][0])
            results.append(module(_token(number, device), cache).tolist())
        return [*results, [tensor.tolist() for pair in (*cache, *spare) for tensor in pair]]

    remote = decode(_Cached().to(DEVICE), DEVICE)
    assert remote == decode(_Cached(), "cpu")
    assert len(sent) >= 8  # most of them, but on a busy machine the first eight may be late


def test_a_tensor_of_another_kind_in_a_list_is_noticed(sent: list[Execution]) -> None:
    """The list and what it holds are the same objects as at the last call."""
    module, native = _Cached().to(DEVICE), _Cached()
    caches = _make_cache(DEVICE), _make_cache("cpu")
    for _ in range(4):
        _ = module(_token(1, DEVICE), caches[0]), native(_token(1, "cpu"), caches[1])
    for cache in caches:
        cache[1][0].data = torch.full((2,), 7.0, dtype=torch.float64).to(cache[1][0].device)
    assert len(sent) > 0
    for _ in range(3):
        result, expected = module(_token(1, DEVICE), caches[0]), native(_token(1, "cpu"), caches[1])
        assert result.dtype == expected.dtype == torch.float64
        assert torch.equal(result.cpu(), expected)


def test_keyword_arguments_are_told_apart_by_their_names(sent: list[Execution]) -> None:
    """And by nothing else than those."""

    class Difference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return self.weight * (one - other)

    module = Difference().to(DEVICE)
    five, one = torch.full((4,), 5.0, device=DEVICE) + 0, torch.ones(4, device=DEVICE) + 0
    for _ in range(3):
        assert module(one=five, other=one).tolist() == [4.0] * 4
    assert len(sent) > 0
    assert module(other=five, one=one).tolist() == [-4.0] * 4
    assert module(five, other=one).tolist() == [4.0] * 4
    assert module(one=one, other=five).tolist() == [-4.0] * 4


class _Listed(nn.Module):
    """Adds what it is passed, in a list and otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, listed: list[torch.Tensor], *others: torch.Tensor) -> torch.Tensor:
        """Weigh each by its place."""
        return self.weight * sum(place * value for place, value in enumerate((*listed, *others), start=1))


def test_a_small_input_in_a_list_is_known_before_it_is_named() -> None:
    """The server had no more than its elements from the call before."""
    module, listed = _Listed().to(DEVICE), [_token(0, DEVICE)]
    for number in range(6):
        listed[0] = _token(number, DEVICE)
        for _ in range(3):
            assert module(listed).tolist() == [float(number), 1.0]


def test_small_inputs_go_along_in_the_order_of_their_places() -> None:
    """The last argument comes first: it is in the list, too."""
    module, listed = _Listed().to(DEVICE), [_token(0, DEVICE)]
    for number in range(6):
        listed[0], other = _token(number, DEVICE), _token(10 * number, DEVICE)
        assert module(listed, other, listed[0]).tolist() == [24.0 * number, 6.0]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_call_begins_once_however_long_its_module_is_looked_at(
    is_late: bool, sent: list[Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server waits a while for the confirmation, refuses the call then, and gets it again; its input is still passed."""
    module, cache = _Cached().to(DEVICE), _make_cache(DEVICE)
    for _ in range(3):
        module(_token(1, DEVICE), cache)
    descriptions = module._compiled_call_impl._descriptions  # type: ignore[union-attr]
    current = descriptions.current

    def slow(described: nn.Module) -> Any:
        time.sleep(0.05 if is_late else 0)
        return current(described)

    monkeypatch.setattr(descriptions, "current", slow)
    sent.clear()
    tokens = [_token(1, DEVICE) for _ in range(4)]
    assert [module(token, cache).tolist()[0] for token in tokens] == [[count, count] for count in (4.0, 5.0, 6.0, 7.0)]
    assert len(sent) >= 1
    assert all(token.handle.pending is not None for token in tokens)  # type: ignore[attr-defined]
    if is_late:
        assert _calls_of(module).num_in_vain >= 1


def test_random_numbers_are_drawn_once_by_each_call(sent: list[Execution]) -> None:
    """A call that was withdrawn took none away from those that follow."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).to(DEVICE)
    value = torch.ones(4, device=DEVICE) + 0

    def draw() -> list[Any]:
        torch.manual_seed(3)
        results = []
        for turn in range(12):
            module.train(turn % 4 < 3)
            results.append(module(value).tolist())
        return results

    results = draw()
    assert len(sent) > 0
    module._compiled_call_impl._early_calls = never = EarlyCalls()  # type: ignore[union-attr]
    never.num_in_vain = 1_000
    sent.clear()
    assert draw() == results
    assert not sent


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda module: setattr(module, "factor", 5.0), lambda value: value * 15),
        (lambda module: setattr(module, "weight", nn.Parameter(torch.ones(4).to(DEVICE))), lambda value: value * 2),
        (
            lambda module: module.register_forward_hook(lambda *_: torch.zeros(4, device=DEVICE)),
            lambda value: value * 0,
        ),
        (
            lambda module: module.register_forward_pre_hook(lambda _, args: (args[0] + 1,)),
            lambda value: (value + 1) * 6,
        ),
        (lambda module: setattr(module, "forward", lambda value: value + 1), lambda value: value + 1),
        (lambda module: djinn.plan_cache.clear(), lambda value: value * 6),
    ],
    ids=["attribute", "weight", "hook", "pre-hook", "forward", "no plan"],
)
def test_a_module_that_changed_is_called_as_it_is_now(
    change: Callable[[nn.Module], Any], expected: Callable[[torch.Tensor], torch.Tensor], sent: list[Execution]
) -> None:
    """What was sent in vain leaves no tensor behind."""
    module = _Scaled().to(DEVICE)
    value = torch.arange(4.0).to(DEVICE) + 0
    _warm(module, value)
    assert len(sent) > 0
    change(module)
    for _ in range(3):
        assert torch.equal(module(value).cpu(), expected(torch.arange(4.0)))
    before = _num_tensors()
    for _ in range(20):
        module(value)
    assert _num_tensors() <= before + 1


class _Watching(TorchFunctionMode):
    """Notes what is asked of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_a_call_that_can_have_no_plan_is_not_sent_early(sent: list[Execution]) -> None:
    """Whoever watches or traces it sees its operations, and nothing of how it would have been sent."""
    module, written = _Written().to(DEVICE), torch.zeros(4).to(DEVICE)
    _warm(module, written)
    sent.clear()
    with _Watching() as watching:
        module(torch.zeros(4).to(DEVICE))
    assert watching.seen == ["zeros", "to", "add_", "mul"]
    fresh = torch.zeros(4).to(DEVICE)
    traced = torch.jit.trace(lambda value: module(value) + 0, (fresh,), check_trace=False)
    assert traced(torch.ones(4).to(DEVICE)).tolist() == [4.0] * 4
    with torch.enable_grad():
        module(torch.zeros(4).to(DEVICE))
    assert sent == []


def test_a_call_that_autograd_records_is_recorded() -> None:
    """Although the ones before it were not."""
    module = _Scaled().to(DEVICE)
    value = torch.ones(4, device=DEVICE) + 0
    _warm(module, value)
    with torch.enable_grad():
        module(value).sum().backward()
    assert module.weight.grad is not None
    assert module.weight.grad.tolist() == [2.0] * 4


@pytest.mark.parametrize("other", [torch.ones(5), torch.ones(4, dtype=torch.float64), torch.ones(1, 4)])
def test_another_kind_of_argument_is_not_sent_early(other: torch.Tensor, sent: list[Execution]) -> None:
    """Whichever part of its metadata is another one."""
    module = _Scaled().to(DEVICE)
    module.weight = nn.Parameter(torch.full((1,), 3.0).to(DEVICE))
    _warm(module, torch.ones(4, device=DEVICE) + 0)
    sent.clear()
    assert torch.equal(module(other.to(DEVICE) + 0).cpu(), other * 6)
    assert not sent


def test_the_same_tensor_twice_is_another_call() -> None:
    """Than that of two different ones: a plan takes each argument for memory of its own."""

    class Difference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return self.weight + (0 if one is other else one - 2 * other)

    module = Difference().to(DEVICE)
    one, other = torch.full((4,), 5.0, device=DEVICE) + 0, torch.ones(4, device=DEVICE) + 0
    _warm(module, one, other)
    assert module(one, one).tolist() == [1.0] * 4
    assert module(one, other).tolist() == [4.0] * 4


def test_a_plan_that_writes_to_weights_is_looked_at_first(sent: list[Execution]) -> None:
    """They have to be at hand, and unchanged, before it begins."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            self.count.add_(1)
            return value + self.count

    value, counting = torch.ones(4, device=DEVICE) + 0, Counting().to(DEVICE)
    for number in range(1, 5):
        assert counting(value).tolist() == [1.0 + number] * 4
    assert not sent


def test_a_module_that_keeps_changing_is_looked_at_first(sent: list[Execution]) -> None:
    """After a few calls in vain."""
    module = nn.Linear(4, 4).to(DEVICE)
    value = torch.ones(4, device=DEVICE) + 0
    for turn in range(100):
        module.train(turn % 4 < 2)
        module(value)
    assert _calls_of(module).num_in_vain < 20
    sent.clear()
    module(value)
    assert not sent


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_what_happens_while_the_module_is_looked_at_takes_no_reply_away(
    is_interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an interrupt nor other requests of the thread, for which the server stops waiting."""
    module, value, descriptions = _make_looked_at()
    current = descriptions.current

    def meddle(described: nn.Module) -> Any:
        if is_interrupted:
            raise KeyboardInterrupt
        assert (value + 1).tolist() == [2.0] * 4
        return current(described)

    with monkeypatch.context() as patch:
        patch.setattr(descriptions, "current", meddle)
        if is_interrupted:
            with pytest.raises(KeyboardInterrupt):
                module(value)
        else:
            assert module(value).tolist() == [6.0] * 4
    assert (value + 2).tolist() == [3.0] * 4
    assert module(value).tolist() == [6.0] * 4
    assert not client_runtime.current_client().connection().awaits_reply


@pytest.mark.parametrize("turns_off", [False, True])
def test_plans_that_are_dropped_while_the_module_is_looked_at_are_made_anew(
    turns_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or not kept any more: the call has its result, and so has the next one."""
    module, value, descriptions = _make_looked_at()
    current = descriptions.current

    def meddle(described: nn.Module) -> Any:
        monkeypatch.undo()
        djinn.plan_cache.clear()
        djinn.plan_cache.enabled = not turns_off
        return current(described)

    monkeypatch.setattr(descriptions, "current", meddle)
    try:
        for _ in range(2):
            assert module(value).tolist() == [6.0] * 4
            last = djinn.last_call()
            assert last is not None
            assert last.planned
    finally:
        djinn.plan_cache.enabled = True
    assert module(value).tolist() == [6.0] * 4
    assert djinn.stats()["client"]["num_plans"] == 1


def test_an_error_of_a_call_in_vain_is_nobodys(sent: list[Execution]) -> None:
    """The server refuses a plan that it dropped; the call is planned again."""
    module = _Scaled().to(DEVICE)
    value = torch.ones(4, device=DEVICE) + 0
    _warm(module, value)
    for plan in djinn.plan_cache.entries():
        client_runtime.current_client().request(m.DropPlans(plan_ids=[plan.plan_id]))
    module.factor = 5.0
    sent.clear()
    assert module(value).tolist() == [15.0] * 4
    assert len(sent) == 1


def test_threads_that_call_and_change_a_module_see_it_as_they_left_it() -> None:
    """Each calls one module of its own and one that all share, which nobody changes."""
    shared = _Scaled().to(DEVICE)
    wrong: list[tuple[int, int]] = []

    def work(number: int) -> None:
        own = _Scaled().to(DEVICE)
        with torch.no_grad():
            value = torch.full((4,), float(number), device=DEVICE) + 0
            for turn in range(60):
                own.factor = float(turn // 5)
                results = own(value).tolist(), shared(value).tolist()
                if results != ([number * 3.0 * (turn // 5)] * 4, [number * 6.0] * 4):
                    wrong.append((number, turn))

    run_by_turns(4, lambda number: work(number + 1))
    assert not wrong
