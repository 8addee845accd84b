"""CUDA graphs of one bound plan.

A graph is a recording of kernels with their addresses, so it is good for tensors that lie where they lay when it was
captured. Small arguments that the plan only reads are copied into buffers of the graph's own, unless everything lies where
it lay at the last call: then a few graphs may read them in place. All others are part of a graph's key by their addresses:
weights, the caches in a session's arena, large arguments. A plan is captured when it meets the same addresses a second
time; until then, capturing might cost more than it saves.
"""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch

from djinn.memory import cuda_driver
from djinn.server.binding import Binding
from djinn.server.caller import Caller
from djinn.server.results import Results
from djinn.server.slots import Inputs, InputSlot
from djinn.server.table import Entry

# Copying a larger argument takes longer than queueing the copy.
MAX_COPIED_BYTES = 8 * 2**20
# One for each session that decodes with the same plan; a graph of a thousand kernels holds some megabytes.
MAX_GRAPHS = 64
# That one plan captures, until tensors move: callers may pass each input a few times, and a capture takes longer than
# copying saves.
MAX_IN_PLACE = 4
_MAX_SEEN = 1_024
# Up to so many, the driver queues copies one by one in less time than torch all at once.
_MAX_COPIED_ALONE = 3

Key = tuple[int, ...]


class Graph:
    """A captured plan with the buffers that it reads and writes.

    Attributes:
        outputs: what the plan returns, until the next launch overwrites it.
    """

    def __init__(self, graph: Any, buffers: dict[int, torch.Tensor], binding: Binding) -> None:
        self._graph = graph
        self._copied, self._buffers = list(buffers), list(buffers.values())
        self.outputs = binding.take_results().tensors
        self._storages = binding.output_storages
        # Whole storages, because results may view parts of them and each other.
        self._contents: dict[int, torch.Tensor] = {}
        for output, storage in zip(self.outputs, self._storages, strict=True):
            if storage is not None and storage not in self._contents:
                self._contents[storage] = _bytes_of(output.untyped_storage(), output.device)

    def launch(self, inputs: Inputs, caller: Caller) -> None:
        """Queue a replay; raises as it is refused."""
        self._fill_buffers([inputs.tensor(number) for number in self._copied])
        caller.await_confirmation()
        self._graph.replay()

    def take_results(self) -> Results:
        """Queue copies of the outputs, and return those."""
        copies = {storage: content.clone().untyped_storage() for storage, content in self._contents.items()}
        return Results(
            [
                output.detach() if storage is None else _over(copies[storage], output)
                for output, storage in zip(self.outputs, self._storages, strict=True)
            ]
        )

    def _fill_buffers(self, tensors: list[torch.Tensor]) -> None:
        pairs = [each for each in zip(self._buffers, tensors, strict=True) if each[0] is not each[1]]
        if len(pairs) <= _MAX_COPIED_ALONE:
            for buffer, tensor in pairs:
                cuda_driver.copy(buffer.device, buffer.data_ptr(), tensor.data_ptr(), buffer.nbytes)
        else:  # in one kernel, where their dtypes are the same
            torch._foreach_copy_([buffer for buffer, _ in pairs], [tensor for _, tensor in pairs])


class Graphs:
    """The graphs of one binding by the addresses that they were captured with.

    Attributes:
        refusal: why the plan is never captured; None if nothing speaks against it.
    """

    def __init__(self, binding: Binding) -> None:
        # Which owns this: a plan that is dropped takes its graphs and their memory along at once.
        self._binding: Binding = weakref.proxy(binding)
        self._graphs: OrderedDict[Key, Graph] = OrderedDict()
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self._copied: list[int] = []
        self._copied_slots: list[tuple[int, InputSlot]] = []
        self._addressed: list[int] | None = None
        self._last: tuple[Key, list[int]] = (), []
        self._num_moves = 0
        self._num_in_place = 0
        self._known: list[Entry] = []
        self._known_key: Key = ()
        self.refusal = _refusal(binding)

    def key(self, inputs: Inputs) -> Key:
        """Return the addresses that a graph for these inputs has to have been captured with.

        Raises:
            PlanError: inputs of other metadata than was planned for.
        """
        if inputs.num_moves != self._num_moves:
            self._forget_all(inputs.num_moves)
        key, arguments = self._key(inputs), inputs.arguments
        places = [arguments[place].tensor.data_ptr() for place, _ in self._copied_slots]
        last, self._last = self._last, (key, places)
        if not places or last != self._last:
            return key
        in_place = (*key, *places)
        if in_place not in self._graphs:
            if self._num_in_place >= MAX_IN_PLACE:
                return key
            self._seen[in_place] = None
        return in_place

    def _forget_all(self, num_moves: int) -> None:
        """Let every graph go: none is asked for any more, since keys begin with the number of moves."""
        self._num_moves, self._num_in_place = num_moves, 0
        self._seen.clear()
        if self._graphs:
            self._graphs.clear()
            # The binding's results lie in memory of the last one, which other graphs may use from now on.
            self._binding.renew_outputs()

    def _key(self, inputs: Inputs) -> Key:
        if self._addressed is None:
            self._binding.check(inputs)
            self._addressed = self._divide(inputs)
        arguments = inputs.arguments
        addressed = list(map(arguments.__getitem__, self._addressed))
        # A decode step passes dozens of caches, the same ones at every token; what did not move need not be looked at.
        if self._known_key and self._known_key[0] == inputs.num_moves and all(map(is_, addressed, self._known)):
            for place, slot in self._copied_slots:
                slot.check(arguments[place].tensor)
            return self._known_key
        self._binding.check(inputs)
        key = (inputs.num_moves, *(entry.tensor.data_ptr() for entry in addressed))
        # Only a block is released while its entry is remembered; what torch's allocator owns would be held.
        is_known = all(entry.block is not None for entry in addressed)
        self._known, self._known_key = (addressed, key) if is_known else ([], ())
        return key

    def find(self, key: Key) -> Graph | None:
        """Return the graph for these addresses, if there is one."""
        graph = self._graphs.get(key)
        if graph is not None:
            self._graphs.move_to_end(key)
        return graph

    def is_due(self, key: Key) -> bool:
        """Tell whether these addresses were met before, and remember them."""
        is_due = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
        return is_due

    def capture(self, key: Key, inputs: Inputs, stream: torch.cuda.Stream, pool: Any) -> Graph | None:
        """Capture the plan on these inputs; None if it cannot be, which is remembered, with the reason if it never can."""
        binding = self._binding
        binding.prepare(inputs.weights, inputs.arguments, inputs.num_moves)
        copied = [] if self._is_in_place(key) else self._copied
        buffers = {number: binding.own_tensor(number, inputs.tensor(number)) for number in copied}
        binding.point_inputs_at(buffers)
        torch.cuda.current_stream().synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.stream(stream):
                _record(graph, binding, pool)
            captured = Graph(graph, buffers, binding)
        except Exception as error:  # what an operator does that no graph can hold, or there is no memory for one
            # The results lie in the pool, where other graphs may write.
            binding.renew_outputs()
            self._note_failure(key, error)
            return None
        finally:
            binding.let_inputs_go()
        self.keep(key, captured)
        return captured

    def _note_failure(self, key: Key, error: Exception) -> None:
        if self._is_in_place(key):  # the graph that copies is still good
            self._num_in_place = MAX_IN_PLACE
        else:
            self.refusal = f"cannot be captured: {' '.join(str(error).split())[:200]}"

    def keep(self, key: Key, graph: Graph) -> None:
        """Remember the graph for these addresses; the least recently used one goes if there are too many."""
        self._num_in_place += self._is_in_place(key)
        self._graphs[key] = graph
        if len(self._graphs) > MAX_GRAPHS:
            self._graphs.popitem(last=False)

    def _is_in_place(self, key: Key) -> bool:
        assert self._addressed is not None, "no key has been asked for"
        return len(key) > 1 + len(self._addressed)

    def _divide(self, inputs: Inputs) -> list[int]:
        """Note which inputs are copied, and return the other arguments' places; metadata decide, the same at every call."""
        kept = self._binding.written_inputs | self._binding.returned_inputs
        first = inputs.num_weights
        arguments = [number for number in self._binding.inputs if number >= first]
        self._copied = [n for n in arguments if n not in kept and _is_worth_copying(inputs.tensor(n))]
        self._copied_slots = [(number - first, self._binding.inputs[number]) for number in self._copied]
        return [number - first for number in arguments if number not in self._copied]


def _is_worth_copying(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() and tensor.nbytes <= MAX_COPIED_BYTES


def _refusal(binding: Binding) -> str | None:
    if binding.guard is not None or binding.checks_data:
        return "reads data on the host"
    if binding.uses_random_numbers:
        return "draws random numbers"
    return None


def _record(graph: Any, binding: Binding, pool: Any) -> None:
    scratch = torch.zeros(1, device=torch.cuda.current_device())
    with _no_collection():
        # Other threads go on copying and allocating meanwhile, on streams of their own.
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            binding.renew_outputs()
            binding.run()
        except BaseException:
            _abandon(graph, scratch)
            raise
        graph.capture_end()


def _abandon(graph: Any, scratch: torch.Tensor) -> None:
    """End a capture that failed.

    Torch leaves one that the driver has ended half open: its allocators, of host memory too, go on recording to the pool, and no
    random number can be drawn. So another one, of next to nothing, is begun in its place, which torch can end whole.
    """
    try:
        graph.capture_end()
    except RuntimeError:
        cuda_driver.begin_capture(torch.cuda.current_stream())
        scratch.zero_()
        graph.capture_end()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Within this scope no garbage is collected: whatever belongs to the device goes by calls that no capture survives."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _bytes_of(storage: torch.UntypedStorage, device: torch.device) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=device).set_(storage, 0, (storage.nbytes(),), (1,))


def _over(storage: torch.UntypedStorage, like: torch.Tensor) -> torch.Tensor:
    made = torch.empty(0, dtype=like.dtype, device=like.device)
    return made.set_(storage, like.storage_offset(), like.shape, like.stride())
