"""What graphs are keyed by and how results are adopted: logic that needs no GPU."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch

from djinn.core import TensorMeta
from djinn.errors import PlanError
from djinn.memory.host_region import HostRegion
from djinn.planning.plan import make_plan
from djinn.server.binding import Binding
from djinn.server.graphs import MAX_COPIED_BYTES, MAX_IN_PLACE, Graphs
from djinn.server.slots import Inputs
from djinn.server.table import Block, Entry
from djinn.tracing import Input, simulate
from djinn.units import MiB


def _bind(function: Any, *inputs: torch.Tensor) -> Binding:
    with torch.no_grad():
        trace = simulate(
            lambda phantoms: [function(*phantoms)], [Input(TensorMeta.of(t)) for t in inputs], device_type="cpu"
        )
    return Binding(make_plan(trace), HostRegion("Stack", MiB), torch.device("cpu"), min_adopted_bytes=0)


def _inputs(*tensors: torch.Tensor) -> Inputs:
    return Inputs([], [Entry(tensor) for tensor in tensors], 0)


def _normed(value: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
    cache.add_(1)
    normed = torch.nn.functional.layer_norm(value, (8,))
    return torch.nn.functional.layer_norm(normed.t().contiguous().t() + cache.sum(), (8,))


def test_adopted_results_are_those_of_planned_buffers() -> None:
    """Also when the plan is replayed again, and the first result is still held."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    results = []
    for _ in range(3):
        binding.prepare(_inputs(value, cache).weights, _inputs(value, cache).arguments, 0)
        with torch.inference_mode():
            binding.run()
            results.append(binding.take_results().tensors[0])
    own = torch.zeros(4)
    for result in results:
        assert torch.equal(result, _normed(value, own))


def test_graphs_are_keyed_by_what_is_written_or_large() -> None:
    """Small arguments that are only read are copied, wherever they lie."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    graphs = Graphs(binding)
    key = graphs.key(_inputs(value, cache))
    assert key == (0, cache.data_ptr())
    assert graphs.key(_inputs(value.clone(), cache)) == key
    assert graphs.key(_inputs(value, cache.clone())) != key
    large = torch.zeros(MAX_COPIED_BYTES // 4 + 1)
    binding = _bind(lambda tensor: tensor[:1] + 1, large)
    assert Graphs(binding).key(_inputs(large)) == (0, large.data_ptr())


def test_what_stays_where_it_was_is_read_there() -> None:
    """What would be copied is part of the key once it lies where it lay at the last call, and is due then."""
    value, other, cache = torch.randn(4, 8), torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    graphs = Graphs(binding)
    copying = graphs.key(_inputs(value, cache))
    in_place = graphs.key(_inputs(value, cache))
    assert in_place == (*copying, value.data_ptr())
    assert graphs.is_due(in_place)
    assert graphs.key(_inputs(other, cache)) == copying
    assert graphs.key(_inputs(value, cache)) == copying


def test_one_of_many_that_stays_is_not_read_there() -> None:
    """Sessions that come one after the other pass the same mask, each for the first time."""
    value, caches = torch.randn(4, 8), [torch.zeros(4) for _ in range(8)]
    binding = _bind(_normed, value, caches[0])
    graphs = Graphs(binding)
    keys = [graphs.key(_inputs(value, cache)) for cache in caches]
    assert [len(key) for key in keys] == [2] * 8
    assert not any(graphs.is_due(key) for key in keys)


def test_moves_end_graphs() -> None:
    """None is asked for again, and the memory of results that lay in one is not used on; others may be captured."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(lambda tensor, table: tensor + table.sum(), value, cache)
    graphs = Graphs(binding)
    graph: Any = type("_Graph", (), {})()
    gone = weakref.ref(graph)
    graphs.keep(graphs.key(_inputs(value, cache)), graph)
    del graph
    [before] = [slot.storage.data_ptr() for slot in binding.outputs.values()]
    held = binding.outputs[next(iter(binding.outputs))].storage
    key = graphs.key(Inputs([], [Entry(value), Entry(cache)], 1))
    assert graphs.find(key) is None
    assert gone() is None
    assert [slot.storage.data_ptr() for slot in binding.outputs.values()] != [before] == [held.data_ptr()]


def test_a_binding_lets_its_inputs_go() -> None:
    """What was captured in place belongs to its caller; the next call binds every input again."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    with torch.inference_mode():
        binding.prepare([], _inputs(value, cache).arguments, 0)
        binding.run()
        expected = binding.take_results().tensors[0].clone()
        num_references = torch._C._storage_Use_Count(value.untyped_storage()._cdata)
        binding.let_inputs_go()
        assert torch._C._storage_Use_Count(value.untyped_storage()._cdata) < num_references
        cache.zero_()
        binding.prepare([], _inputs(value, cache).arguments, 0)
        binding.run()
        assert torch.equal(binding.take_results().tensors[0], expected)


def test_plans_that_check_data_are_never_captured() -> None:
    """An inverse looks on the host whether there is one."""
    value = torch.eye(4)
    binding = _bind(torch.linalg.inv, value)
    assert Graphs(binding).refusal == "reads data on the host"
    binding = _bind(lambda tensor: tensor.add_(1) * 2, value)
    assert Graphs(binding).refusal is None


def test_a_plan_reads_in_few_places() -> None:
    """A caller who passes every input twice would have each one captured."""
    values, cache = [torch.randn(4, 8) for _ in range(MAX_IN_PLACE + 1)], torch.zeros(4)
    binding = _bind(_normed, values[0], cache)
    graphs = Graphs(binding)
    not_replayed: Any = object()
    keys = []
    for value in values:
        inputs = _inputs(value, cache)
        graphs.key(inputs)
        keys.append(graphs.key(inputs))
        graphs.keep(keys[-1], not_replayed)
    assert [len(key) for key in keys] == [3] * MAX_IN_PLACE + [2]
    graphs.key(_inputs(values[0], cache))
    assert graphs.key(_inputs(values[0], cache)) == keys[0]


def test_entries_that_did_not_move_are_not_looked_at_again() -> None:
    """What is copied still is: it is another tensor at every call."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    graphs = Graphs(binding)
    entry = Entry(cache, Block(cache.data_ptr(), cache.nbytes, lambda: None))
    key = graphs.key(Inputs([], [Entry(value), entry], 0))
    entry.tensor = torch.zeros(4)
    moved = Entry(value.clone())
    assert graphs.key(Inputs([], [moved, entry], 0)) == key
    assert graphs.key(Inputs([], [Entry(value), entry], 1)) == (1, entry.tensor.data_ptr())
    with pytest.raises(PlanError, match="plan the call again"):
        graphs.key(Inputs([], [Entry(torch.randn(2, 8)), entry], 1))


def test_memory_that_nobody_else_holds_is_not_held_by_a_key() -> None:
    """A tensor outside every block belongs to torch's allocator, which wants it back."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    graphs = Graphs(binding)
    graphs.key(_inputs(value, cache))
    held = weakref.ref(cache)
    del cache
    gc.collect()
    assert held() is None


def test_a_plan_is_captured_at_the_second_meeting() -> None:
    """The first call with these addresses may be the only one."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    graphs = Graphs(binding)
    key = graphs.key(_inputs(value, cache))
    assert graphs.find(key) is None
    assert [graphs.is_due(key), graphs.is_due(key)] == [False, True]


def test_graphs_go_with_their_plan() -> None:
    """Not when garbage is collected: they hold memory of the device, and are taken down by calls that no capture survives."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    graphs = Graphs(binding)
    binding.replayer = graphs
    graphs.key(_inputs(value, cache))
    gone = weakref.ref(graphs)
    gc.disable()
    try:
        del graphs, binding
        assert gone() is None
    finally:
        gc.enable()


def test_other_metadata_are_refused() -> None:
    """A graph reads as many bytes as were planned for."""
    value, cache = torch.randn(4, 8), torch.zeros(4)
    binding = _bind(_normed, value, cache)
    graphs = Graphs(binding)
    with pytest.raises(PlanError, match="plan the call again"):
        graphs.key(_inputs(torch.randn(2, 8), cache))


def test_random_numbers_are_never_captured() -> None:
    """A graph would draw the same ones at each replay, or others than a client's own sequence."""
    value = torch.randn(4, 8)
    binding = _bind(lambda tensor: torch.rand_like(tensor) + tensor, value)
    graphs = Graphs(binding)
    assert graphs.refusal == "draws random numbers"
