"""A CUDA device: work is queued on streams, bound plans become CUDA graphs, results come back through pinned memory.

Handlers queue on the default stream. Plans that are replayed call by call, and those that are captured, run on a stream
of their own, because nothing else may be queued on a stream that is being captured.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import torch

from djinn.errors import DjinnError
from djinn.memory import cuda_driver
from djinn.server.binding import Binding
from djinn.server.caller import Caller
from djinn.server.compute import Compute
from djinn.server.graphs import Graph, Graphs
from djinn.server.locked_places import LockedPlaces
from djinn.server.results import Results
from djinn.server.slots import Inputs
from djinn.transport.mailbox import ENDED_AT_BYTES

_Fetched = tuple[torch.Tensor, memoryview | None]


class _Own(threading.local):
    """What each thread that computes has of its own."""

    def __init__(self) -> None:
        self.computed = torch.cuda.Event()


class CudaCompute(Compute):
    """The current CUDA device."""

    min_adopted_bytes: int | None = 0  # a copy is a kernel, whatever its size

    def __init__(self) -> None:
        super().__init__()
        torch.cuda.init()
        self.device = torch.device("cuda", torch.cuda.current_device())
        # Whoever compares with native PyTorch has these defaults too; they decide how matrix products round.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        self._stream = torch.cuda.Stream(self.device)
        self._pool = torch.cuda.graph_pool_handle()
        self._keeper = self._capture_nothing()
        self._num_captures = 0
        self._num_graph_replays = 0
        self._plain_replays: Counter[str] = Counter()
        self._places = LockedPlaces()
        self._own = _Own()
        self._can_announce = cuda_driver.can_write_to_host(self.device.index)

    def default_generator(self) -> torch.Generator:
        """Return the device's."""
        generator: torch.Generator = torch.cuda.default_generators[self.device.index]
        return generator

    def fill(self, tensor: torch.Tensor, content: bytes) -> None:
        """Queue a copy; the driver takes the bytes before it returns."""
        cuda_driver.write(self.device, tensor.data_ptr(), content)

    def replay(self, binding: Binding, inputs: Inputs, caller: Caller, *, fetches_first: bool) -> Results:
        """Replay a graph of the plan, capture one, or run the plan call by call; otherwise as on the host.

        A graph's results are copied to where they stay after they were fetched, and nobody waits for that: whatever reads the
        copies is queued behind.
        """
        graph = self._graph(binding, inputs)
        if graph is not None:
            graph.launch(inputs, caller)
            fetched, is_announced = self._end(graph.outputs if fetches_first else [], caller)
            results = self._take_results(graph)
        else:
            caller.await_confirmation()
            results = self._replay_calls(binding, inputs)
            fetched, is_announced = self._end(results.tensors if fetches_first else [], caller)
        if fetched is not None:
            results.fetch(*fetched)
        results.is_announced = is_announced
        return results

    def await_results(self) -> None:
        """Return when the event has passed that follows the results of this thread's last replay."""
        self._own.computed.synchronize()

    def make_ready(self, binding: Binding) -> None:
        """Do nothing: a graph has outputs of its own, so another storage would be held in vain."""

    def begin_fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """Queue a copy to pinned memory."""
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    def wait(self) -> None:
        """Return when the default stream is empty."""
        torch.cuda.current_stream(self.device).synchronize()

    def stats(self) -> dict[str, Any]:
        """Return the device's memory, and how often plans were replayed by which means."""
        free_bytes, total_bytes = torch.cuda.mem_get_info(self.device)
        return {
            "name": torch.cuda.get_device_name(self.device),
            "total_bytes": total_bytes,
            "occupied_bytes": total_bytes - free_bytes,
            "allocator_peak_bytes": torch.cuda.max_memory_allocated(self.device),
            "graph_captures": self._num_captures,
            "graph_replays": self._num_graph_replays,
            "plain_replays": dict(self._plain_replays),
        }

    def _capture_nothing(self) -> Any:
        """Return a graph that lives as long as the server: torch closes a pool with the last graph that uses it."""
        graph = torch.cuda.CUDAGraph()
        value = torch.zeros(1, device=self.device)
        torch.cuda.synchronize(self.device)
        with torch.cuda.stream(self._stream):
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            value.add_(1)
            graph.capture_end()
        return graph

    def _graph(self, binding: Binding, inputs: Inputs) -> Graph | None:
        """Return the graph for these inputs, captured now if that is due; None if the plan has to be run call by call."""
        graphs = binding.replayer
        if graphs is None:
            graphs = binding.replayer = Graphs(binding)
        assert isinstance(graphs, Graphs), "a plan is replayed by another device's means"
        graph: Graph | None = None
        if graphs.refusal is None:
            key = graphs.key(inputs)
            graph = graphs.find(key)
            if graph is None and graphs.is_due(key):
                graph = graphs.capture(key, inputs, self._stream, self._pool)
                self._num_captures += graph is not None
        if graph is None:
            self._plain_replays[graphs.refusal or "first call with these addresses"] += 1
        else:
            self._num_graph_replays += 1
        return graph

    def _end(self, fetched: list[torch.Tensor], caller: Caller) -> tuple[_Fetched | None, bool]:
        """Queue what the caller waits for, the first of these results too, and the event behind it.

        Returns:
            That result on the host, and whether the caller hears of the end from the device.
        """
        copy = self._begin_to_fetch(fetched[0], caller) if fetched else None
        # What comes to pinned memory has to be copied from there when it has come.
        is_in_place = copy is None or copy[1] is not None
        is_announced = self._can_announce and is_in_place and self._announce(caller)
        self._own.computed.record(torch.cuda.current_stream(self.device))
        return copy, is_announced

    def _announce(self, caller: Caller) -> bool:
        """Let the device tell the caller when it comes to here, and tell whether it will."""
        end = caller.place_of_end()
        address = None if end is None else self._places.address(end[0])
        if end is None or address is None:
            return False
        try:
            cuda_driver.write_number(self.device, address + ENDED_AT_BYTES, end[1])
        except DjinnError:  # a driver that says it can, and does not
            self._can_announce = False
        return self._can_announce

    def _take_results(self, graph: Graph) -> Results:
        try:
            return graph.take_results()
        except BaseException:  # there is no memory for copies
            # The graph may write to the caller's memory still, who is told of this before it ends.
            self.await_results()
            raise

    def _begin_to_fetch(self, first: torch.Tensor, caller: Caller) -> _Fetched:
        """Queue a copy of the first output to where the caller wants it, or to pinned memory."""
        place = caller.place_of_result(first.nbytes)
        host = None if place is None else self._places.tensor(place, first)
        if place is None or host is None:
            return self.begin_fetch(first), None
        return host.copy_(first, non_blocking=True), place.view

    def _replay_calls(self, binding: Binding, inputs: Inputs) -> Results:
        binding.prepare(inputs.weights, inputs.arguments, inputs.num_moves)
        outside = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                binding.run()
        finally:
            outside.wait_stream(self._stream)
        return binding.take_results()
