"""No plan outlives what its code looks up by name; every result is native PyTorch's."""

from __future__ import annotations

import enum
import functools
import gc
import os
import site
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import djinn
from djinn.device.mentions import Mentions
from djinn.device.names import Names
from djinn.tracing import UnplannableError
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")

FACTOR = 2.0
size = 1  # which is not what a tensor's `size` is
activate = functional.relu
num_calls = 0
table: torch.Tensor | None = None
helpers, other_helpers = types.ModuleType("helpers_of_a_test"), types.ModuleType("other_helpers_of_a_test")
_started, _may_go_on = threading.Event(), threading.Event()


class Kind(enum.Enum):
    """A choice."""

    A = 1
    B = 2

    @property
    def doubled(self) -> int:
        """A property."""
        return 2 * self.value


KIND = Kind.A


class Settings:
    """A class with an attribute and an operator."""

    shift = 1.0

    def __float__(self) -> float:
        """Be a number."""
        return FACTOR


class Padding(nn.Conv1d):
    """A layer of which torch's own forward calls a method."""

    def __init__(self) -> None:
        super().__init__(2, 2, 1)
        nn.init.ones_(self.weight)

    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return x * weight.sum() * FACTOR


class Scaled(nn.Module):
    """A module whose forward asks its class."""

    factor = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    @property
    def shift(self) -> float:
        """A property."""
        return FACTOR

    @classmethod
    def offset(cls) -> float:
        """A method of the class."""
        return 0.5

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """A method."""
        return x * self.factor + self.shift + self.offset()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the method."""
        return self.scale(x) * self.weight


class Inheriting(Scaled):
    """A module that has everything from its base."""


class Adding:
    """Made and called by a forward."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Add."""
        return x + self.by + self.more()

    def more(self) -> float:
        """Say what to add beside."""
        return 1.0


class Doubling(nn.Module):
    """A module that somebody else's forward calls."""

    factor = 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Double."""
        return x * self.factor


def helper(x: torch.Tensor, by: float = 2.0, *, beside: float = 1.0) -> torch.Tensor:
    """Multiply and add."""
    return x * by + beside


def _other_helper(x: torch.Tensor, by: float = 5.0, *, beside: float = 1.0) -> torch.Tensor:
    return x - by * beside


def _calls_helper(x: torch.Tensor) -> torch.Tensor:
    return helper(x) + size


@torch.no_grad()
def _decorated(x: torch.Tensor) -> torch.Tensor:
    return x * FACTOR


def _shifts(x: torch.Tensor) -> torch.Tensor:
    try:
        return x + later  # type: ignore[name-defined,no-any-return]
    except NameError:
        return x


class _Function(nn.Module):
    """Runs a function as its forward."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        return self.function(x) * self.weight


def _forgives(x: torch.Tensor) -> torch.Tensor:
    try:
        return x * FACTOR
    except NameError:
        return x * 7


def _closing_over(cls: type[Settings]) -> nn.Module:
    return _Function(lambda x: x * cls.shift)


class _Keeping(_Function):
    """A module that keeps a class, or an object of one."""

    kept: Any


def _keeping(kept: Any) -> nn.Module:
    module = _Keeping(lambda x: x * module.kept.shift)
    module.kept = kept
    return module


def _made_scale() -> tuple[Callable[[], float], Callable[[float], None]]:
    value = 1.0

    def assign(new: float) -> None:
        nonlocal value
        value = new

    return lambda: value, assign


scale, assign_scale = _made_scale()


def _times_inner_factor(x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = x * helpers.inner.factor
    return result


settings = Settings()
doubling = Doubling()
_CLASSES = (_Function, Kind, Settings, Padding, Scaled, Inheriting, Adding, Doubling)
_NAMES = ("FACTOR", "KIND", "table", "size", "helper", "helpers", "activate", "settings")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Put back what a test changes of what forwards mention."""
    djinn.plan_cache.clear()
    helpers.factor, other_helpers.factor = 2.0, 5.0  # type: ignore[attr-defined]
    helpers.inner, other_helpers.shift = other_helpers, 1.0  # type: ignore[attr-defined]
    values = {name: globals()[name] for name in _NAMES}
    attributes = {cls: dict(vars(cls)) for cls in _CLASSES}
    code, defaults, keyword_defaults = helper.__code__, helper.__defaults__, helper.__kwdefaults__
    yield
    for cls, before in attributes.items():
        for name in vars(cls).keys() - before.keys():
            delattr(cls, name)
        for name, value in before.items():
            if vars(cls)[name] is not value:
                setattr(cls, name, value)
    globals().update(values)
    globals().pop("later", None)
    assign_scale(1.0)
    helper.__code__, helper.__defaults__, helper.__kwdefaults__ = code, defaults, keyword_defaults


def _assign(name: str, value: Any) -> None:
    globals()[name] = value


def _set_global(name: str, value: Any) -> Callable[[], None]:
    return lambda: _assign(name, value)


def _set(owner: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


CHANGES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "global": (lambda: _Function(lambda x: x * FACTOR), _set_global("FACTOR", 3.0)),
    "sign of a global zero": (
        lambda: _Function(lambda x: x / (FACTOR - 2.0) if FACTOR else x / FACTOR),
        _set_global("FACTOR", -0.0),
    ),
    "deleted global": (lambda: _Function(_forgives), lambda: globals().__delitem__("FACTOR")),
    "global that is defined later": (lambda: _Function(_shifts), _set_global("later", 3.0)),
    "global of a decorated function": (lambda: _Function(lambda x: _decorated(x) * 2), _set_global("FACTOR", 3.0)),
    "property of an enumerated global's class": (
        lambda: _Function(lambda x: x * KIND.doubled),
        _set(Kind, "doubled", property(lambda self: 7.0)),
    ),
    "enumerated global": (lambda: _Function(lambda x: x * KIND.value), _set_global("KIND", Kind.B)),
    "redefined function": (lambda: _Function(lambda x: helper(x) * 2), _set_global("helper", _other_helper)),
    "global that is an installed function": (
        lambda: _Function(lambda x: activate(x) * 2),
        _set_global("activate", functional.silu),
    ),
    "global of a function": (lambda: _Function(_calls_helper), _set_global("helper", _other_helper)),
    "global of a function's function": (lambda: _Function(lambda x: _calls_helper(x) * 2), _set_global("size", 5)),
    "defaults": (lambda: _Function(lambda x: helper(x) * 2), _set(helper, "__defaults__", (4.0,))),
    "keyword defaults": (lambda: _Function(lambda x: helper(x) * 2), _set(helper, "__kwdefaults__", {"beside": 4.0})),
    "code": (lambda: _Function(lambda x: helper(x) * 2), _set(helper, "__code__", _other_helper.__code__)),
    "inner function": (
        lambda: _Function(lambda x: torch.stack([row * FACTOR for row in x])),
        _set_global("FACTOR", 3.0),
    ),
    "attribute of an object's class": (lambda: _Function(lambda x: x * settings.shift), _set(Settings, "shift", 3.0)),
    "attribute of a module": (lambda: _Function(lambda x: x * helpers.factor), _set(helpers, "factor", 3.0)),
    "attribute of a module in a module": (
        lambda: _Function(lambda x: x * helpers.inner.factor),
        _set(other_helpers, "factor", 3.0),
    ),
    "attribute of a module that was met for another": (
        lambda: _Function(lambda x: _times_inner_factor(x) + helpers.inner.shift),
        _set(other_helpers, "factor", 3.0),
    ),
    "another module": (lambda: _Function(lambda x: x * helpers.factor), _set_global("helpers", other_helpers)),
    "attribute of a global class": (lambda: _Function(lambda x: x * Settings.shift), _set(Settings, "shift", 3.0)),
    "method of a class that forward instantiates": (
        lambda: _Function(lambda x: Adding(1.0)(x) * 2),
        _set(Adding, "more", lambda self: 4.0),
    ),
    "constructor of a class that forward instantiates": (
        lambda: _Function(lambda x: Adding(1.0)(x) * 2),
        _set(Adding, "__init__", lambda self, by: setattr(self, "by", 10 * by)),
    ),
    "what an installed class calls": (Padding, _set(Padding, "_conv_forward", lambda self, x, weight, bias: x * 7)),
    "global of what an installed class calls": (Padding, _set_global("FACTOR", 3.0)),
    "operator": (lambda: _Function(lambda x: x * float(settings)), _set(Settings, "__float__", lambda self: 3.0)),
    "class in a closure": (lambda: _closing_over(Settings), _set(Settings, "shift", 3.0)),
    "class that a module keeps": (lambda: _keeping(Settings), _set(Settings, "shift", 3.0)),
    "class of an object that a module keeps": (lambda: _keeping(Settings()), _set(Settings, "shift", 3.0)),
    "class of a module that is no part": (lambda: _Function(lambda x: doubling(x) * 2), _set(Doubling, "factor", 3.0)),
    "attribute of its class": (Scaled, _set(Scaled, "factor", 3.0)),
    "attribute of its base": (Inheriting, _set(Scaled, "factor", 3.0)),
    "attribute that hides its base's": (Inheriting, _set(Inheriting, "factor", 3.0)),
    "method": (Scaled, _set(Scaled, "scale", lambda self, x: x * 7)),
    "method that hides its base's": (Inheriting, _set(Inheriting, "scale", lambda self, x: x * 7)),
    "property": (Scaled, _set(Scaled, "shift", property(lambda self: 9.0))),
    "global of a property": (Scaled, _set_global("FACTOR", 9.0)),
    "class method": (Inheriting, _set(Scaled, "offset", classmethod(lambda cls: 9.0))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_seen(name: str) -> None:
    """At the next call, which has a plan again; what native PyTorch computes changes, too."""
    make, change = CHANGES[name]
    native, remote = make(), make().to(DEVICE)
    x = torch.tensor([[1.0, -2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    with torch.no_grad():
        before = native(x)
        for _ in range(2):
            assert torch.equal(remote(x.to(DEVICE)).cpu(), before)
        assert djinn.last_call().cache_hit
        change()
        expected = native(x)
        assert not torch.equal(expected, before)
        for _ in range(2):
            assert torch.equal(remote(x.to(DEVICE)).cpu(), expected)
    assert djinn.last_call().cache_hit


@pytest.mark.parametrize(
    "change",
    [
        lambda: _assign("size", 5),
        lambda: _assign("FACTOR", 2.0 * float(FACTOR) / 2.0),
        lambda: setattr(helpers, "shift", 3.0),
        lambda: setattr(Settings, "shift", 3.0),
        lambda: _assign("activate", functional.silu),
        lambda: setattr(_Function, "__init__", lambda self: None),
    ],
    ids=[
        "a global that is named like an attribute",
        "an equal value",
        "a new attribute",
        "another class",
        "another global",
        "constructor",
    ],
)
def test_other_changes_give_no_plan_up(change: Callable[[], None]) -> None:
    """Names that belong to something else, and values that are what they were."""
    remote = _Function(lambda x: x.reshape(x.size()) * FACTOR + helpers.factor).to(DEVICE)
    x = torch.ones(4, device=DEVICE)
    with torch.no_grad():
        for _ in range(2):
            remote(x)
        change()
        remote(x)
    assert djinn.last_call().cache_hit


def test_what_changes_between_all_calls_is_not_planned_for() -> None:
    """A plan for each call would be a simulation for each call; there are plans again as soon as it stays."""
    remote, x = _Function(lambda x: x * FACTOR).to(DEVICE), torch.ones(4, device=DEVICE)
    with torch.no_grad():
        for number in range(40):
            globals()["FACTOR"] = float(number)
            assert remote(x).tolist() == [float(number)] * 4
        assert djinn.stats()["plan_cache"]["entries"] < 20
        assert djinn.stats()["fallbacks"]["the module, or what its code mentions, changes between all calls"] > 20
        for _ in range(3):
            assert remote(x).tolist() == [39.0] * 4
        assert djinn.last_call().cache_hit
        for number in range(40):
            globals()["FACTOR"] = float(number % 2)
            assert remote(x).tolist() == [float(number % 2)] * 4
    assert djinn.last_call().cache_hit


def _fills_a_global(x: torch.Tensor) -> torch.Tensor:
    global table
    if table is None:
        table = torch.arange(4.0, device=x.device)
    return x * table * FACTOR


def _fills_by_name(x: torch.Tensor) -> torch.Tensor:
    if globals()["table"] is None:
        globals()["table"] = torch.arange(4.0, device=x.device)
    return x * table * FACTOR


class _FillingItsClass(Scaled):
    table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fill a table of the class once."""
        if self.table is None:
            type(self).table = torch.arange(4.0, device=x.device)
        return super().forward(x) * self.table


@pytest.mark.parametrize(
    "make", [lambda: _Function(_fills_a_global), lambda: _Function(_fills_by_name), _FillingItsClass]
)
def test_what_the_code_assigns_is_its_own_state(make: Callable[[], nn.Module]) -> None:
    """A table that forward fills once is no change: what came of it in the first simulation serves every plan."""
    x = torch.ones(2, 4)
    with torch.no_grad():
        expected = make()(x)
        globals()["table"] = _FillingItsClass.table = None
        remote = make().to(DEVICE)
        for num_rows in (2, 1, 2, 1, 2):
            assert torch.equal(remote(x[:num_rows].to(DEVICE)).cpu(), expected[:num_rows])
        assert djinn.last_call().cache_hit
        globals()["FACTOR"] = 3.0
        assert not torch.equal(remote(x.to(DEVICE)).cpu(), expected)
    globals()["table"] = _FillingItsClass.table = None


def _counts(x: torch.Tensor) -> torch.Tensor:
    global num_calls
    num_calls += 1
    return x * num_calls


def _counts_by_name(x: torch.Tensor) -> torch.Tensor:
    globals()["num_calls"] += 1
    return x * num_calls


class _Counting(Scaled):
    num_calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Count the calls of all modules of this class."""
        type(self).num_calls += 1
        return x * self.num_calls * self.weight


class _CountingByItself(_Counting):
    """A class that has the number from its base, until its forward assigns it."""


@pytest.mark.parametrize(
    "make", [lambda: _Function(_counts), lambda: _Function(_counts_by_name), _Counting, _CountingByItself]
)
def test_what_forward_counts_it_counts_once_a_call(make: Callable[[], nn.Module]) -> None:
    """Such calls run operation by operation, and what their simulation counted is taken back."""

    def results(device: str) -> tuple[list[Any], int, int, int]:
        globals()["num_calls"] = _Counting.num_calls = 0
        if "num_calls" in vars(_CountingByItself):
            del _CountingByItself.num_calls
        module = make().to(device)
        with torch.no_grad():
            outputs = [module(torch.ones(4, device=device)).tolist() for _ in range(8)]
        return outputs, num_calls, _Counting.num_calls, _CountingByItself.num_calls

    assert results("cpu") == results(DEVICE)
    assert "forward assigns constants to globals or to attributes of classes" in djinn.stats()["fallbacks"]


def _begins_to_count(x: torch.Tensor) -> torch.Tensor:
    global num_calls
    try:
        num_calls += 1
    except NameError:
        num_calls = 1
    return x * num_calls


def test_a_counter_may_be_gone_when_it_is_taken_back() -> None:
    """Deleted after the module was described; what is taken back then is gone again."""
    globals()["num_calls"] = 0
    remote, x = _Function(_begins_to_count).to(DEVICE), torch.ones(2, 4, device=DEVICE)
    with torch.no_grad():
        assert remote(x).tolist() == [[1.0] * 4] * 2
        del globals()["num_calls"]
        assert remote(x[:1]).tolist() == [[1.0] * 4]
        assert remote(x[:1]).tolist() == [[2.0] * 4]


class _OnceMeta(type):
    def __setattr__(cls, name: str, value: Any) -> None:
        if getattr(cls, name):
            raise AttributeError(name)
        super().__setattr__(name, value)


class _Once(metaclass=_OnceMeta):
    is_ready = False


def _readies(x: torch.Tensor) -> torch.Tensor:
    if not _Once.is_ready:
        _Once.is_ready = True
    return x * FACTOR


def test_what_is_taken_back_goes_past_a_metaclass() -> None:
    """One that lets nobody assign twice, for instance."""
    remote, x = _Function(_readies).to(DEVICE), torch.ones(4, device=DEVICE)
    with torch.no_grad():
        for _ in range(3):
            assert remote(x).tolist() == [2.0] * 4
    assert _Once.is_ready
    assert djinn.last_call().cache_hit
    type.__setattr__(_Once, "is_ready", False)


def _remembering(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    known: dict[torch.Size, torch.Tensor] = {}

    def remembered(x: torch.Tensor) -> torch.Tensor:
        if x.shape not in known:
            known[x.shape] = function(x)
        return known[x.shape]

    return remembered


tabulate = _remembering(lambda x: torch.arange(4.0, device=x.device) * x.shape[0] * FACTOR)


def test_what_a_global_function_closes_over_is_its_own_state() -> None:
    """A table that is made once for each shape costs no plan."""
    remote, x = _Function(lambda x: x * tabulate(x)).to(DEVICE), torch.ones(3, 4)
    with torch.no_grad():
        for num_rows in (1, 2, 3, 1, 2, 3):
            expected = x[:num_rows] * torch.arange(4.0) * num_rows * 2.0
            assert torch.equal(remote(x[:num_rows].to(DEVICE)).cpu(), expected)
            assert djinn.last_call().planned
    assert djinn.last_call().cache_hit


def _warns_once(x: torch.Tensor) -> torch.Tensor:
    global num_calls
    if num_calls == 0:
        num_calls = 1
    return x * FACTOR


def test_what_forward_assigns_once_is_no_obstacle() -> None:
    """From the second call on there is a plan."""
    globals()["num_calls"] = 0
    remote, x = _Function(_warns_once).to(DEVICE), torch.ones(4, device=DEVICE)
    with torch.no_grad():
        for _ in range(3):
            remote(x)
    assert num_calls == 1
    assert djinn.last_call().cache_hit


def _waits(x: torch.Tensor) -> torch.Tensor:
    _started.set()
    _may_go_on.wait(10)
    return x * FACTOR * scale()


def test_what_others_write_meanwhile_stays_theirs() -> None:
    """Another thread assigns what a simulation mentions: the call has the new value, and nothing is put back.

    Nor is there a plan that takes the new value for the old one.
    """
    remote, results = _Function(_waits).to(DEVICE), []
    _started.clear()
    _may_go_on.clear()

    def call() -> None:
        with torch.no_grad():
            results.append(remote(torch.ones(4, device=DEVICE)).tolist())

    thread = threading.Thread(target=call)
    thread.start()
    assert _started.wait(10)
    globals()["FACTOR"] = 3.0
    assign_scale(5.0)
    _may_go_on.set()
    thread.join()
    assert results == [[15.0] * 4]
    assert (FACTOR, scale()) == (3.0, 5.0)
    globals()["FACTOR"] = 2.0
    assign_scale(1.0)
    call()
    assert results[1] == [2.0] * 4


def test_what_is_installed_is_not_looked_at() -> None:
    """The names of torch's own layers cost their calls nothing: there are too many, and nobody replaces them."""
    mentions = Mentions()
    for cls in (nn.TransformerEncoderLayer, nn.LSTM, functools.cached_property):
        mentions.add_class(cls)
        mentions.add_function(cls.__init__)
    assert mentions.values() == []
    mentions.add_class(Scaled)
    for function in (Scaled.forward, Padding.__init__):
        mentions.add_function(function)
    values = mentions.values()
    assert Scaled.scale in values
    assert nn not in values


class _Hostile:
    """Whatever is done to it, it objects; what looks at it is counted."""

    num_looks = 0

    def __getattribute__(self, name: str) -> Any:
        _Hostile.num_looks += 1
        raise ReferenceError(name)

    def __get__(self, instance: Any, owner: Any) -> Any:
        _Hostile.num_looks += 1
        raise ValueError(owner)

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError(other)

    __hash__ = None  # type: ignore[assignment]


class _HostileMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("shift", "__dict__", "__mro__", "__module__"):
            _Hostile.num_looks += 1
            raise ValueError(name)
        return super().__getattribute__(name)


class _WithHostileMeta(metaclass=_HostileMeta):
    shift = 1.0


hostile = _Hostile()


class _KeepingHostility(Scaled):
    hostile = _Hostile()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mention what must not be touched."""
        if x.dim() > 5:
            return x * hostile.shift * self.hostile * _WithHostileMeta.shift  # type: ignore[attr-defined,operator]
        return super().forward(x)


def test_looking_runs_nobody_s_code() -> None:
    """Neither when the module is described nor when it is called again; such a module has a plan like any other."""
    remote, x = _KeepingHostility().to(DEVICE), torch.ones(2, 4)
    _Hostile.num_looks = 0
    with torch.no_grad():
        expected = _KeepingHostility()(x)
        for _ in range(3):
            assert torch.equal(remote(x.to(DEVICE)).cpu(), expected)
    assert djinn.last_call().cache_hit
    assert _Hostile.num_looks == 0


class _Mentioned(Scaled):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Use the module by its global name."""
        return super().forward(x) * mentioned.factor


mentioned: Any = None


def test_a_module_that_its_own_code_mentions_goes_with_its_last_reference() -> None:
    """Without waiting for the collection of garbage."""
    globals()["mentioned"] = _Mentioned().to(DEVICE)
    gone = weakref.ref(mentioned)
    with torch.no_grad():
        for _ in range(2):
            mentioned(torch.ones(4, device=DEVICE))
    gc.disable()
    try:
        globals()["mentioned"] = None
        assert gone() is None
    finally:
        gc.enable()


def test_programs_of_any_depth_are_followed() -> None:
    """By a list of what is left to do, not by recursion; more names than can be compared at each call end planning."""
    source = ["def f0(x): return x * last"]
    source += [
        f"class C{n}:\n  def m{n}(self, x): return f{n - 1}(x)\ndef f{n}(x): return C{n}().m{n}(x)"
        for n in range(1, 1001)
    ]
    space: dict[str, Any] = {"last": 2.0, "__name__": "made_by_a_test"}
    exec("\n".join(source), space)
    mentions = Mentions()
    mentions.add_function(space["f1000"])
    assert 2.0 in mentions.values()
    names = Names()
    mentions.watch(names)
    assert names.are_same()
    space["last"] = 3.0
    assert not names.are_same()
    exec("def all_of_them(x): return (" + "".join(f"n{n}, " for n in range(5000)) + ")", space)
    space |= {f"n{n}": n for n in range(5000)}
    mentions.add_function(space["all_of_them"])
    assert 4999 in mentions.values()
    with pytest.raises(UnplannableError, match="mentions more than 4096 names"):
        mentions.watch(Names())


def test_packages_are_installed_wherever_python_finds_them(tmp_path: Path, root: Path) -> None:
    """In a folder that an environment variable names, say: torch's own code is not looked into there, either."""
    for package in Path(site.getsitepackages()[0]).iterdir():
        (tmp_path / package.name).symlink_to(package)
    program = f"""
import djinn, torch
djinn.init()
assert torch.__file__.startswith({str(tmp_path)!r}), torch.__file__
with torch.no_grad():
    torch.nn.Linear(2, 2).to("{DEVICE}")(torch.ones(2, device="{DEVICE}"))
print(djinn.stats()["fallbacks"], djinn.stats()["plan_cache"]["misses"])
"""
    python = getattr(sys, "_base_executable", sys.executable)  # which does not know this environment's packages
    path = os.pathsep.join((str(tmp_path), str(root / "workflow" / "src")))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [python, "-c", program], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.strip() == "{} 1", done.stderr
