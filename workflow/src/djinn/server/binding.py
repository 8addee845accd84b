"""A plan bound to memory: every operation with its operands as finished tensors, ready to be replayed.

Views cost nothing here: a value that aliases another is a tensor of its own metadata over the same storage, made
once. What changes from call to call are storages: of arguments, because the caller passes new tensors, and of
outputs, because the caller still holds the last ones. Both are exchanged by pointing the bound tensors elsewhere,
without copying any bytes.
"""

from __future__ import annotations

import torch

from djinn.core import TensorMeta
from djinn.errors import OutOfMemoryError, PlanError
from djinn.memory.region import Region
from djinn.planning.plan import MemoryPlan
from djinn.protocol.messages import MAX_INLINE_BYTES
from djinn.server.adoption import adopted_storages
from djinn.server.elements import check_length
from djinn.server.node_calls import NodeCalls
from djinn.server.overlaps import Overlaps
from djinn.server.results import Results
from djinn.server.slots import ExchangeableStorage, Inputs, InputSlot, OutputSlot
from djinn.server.table import Entry

# A bound tensor with its share of operands and calls, measured as growth of resident memory over 200 plans.
_TENSOR_BYTES = 2_048


class Binding:
    """A plan over the Stack segment from its base, ready for any arguments of the planned metadata.

    Attributes:
        calls: functions with their operands in order of execution.
        inputs: one slot for each input storage, by the number of the first input that views it.
        outputs: one slot for each storage that only outputs keep.
        num_outputs: how many tensors a replay returns.
        returned_inputs: numbers of inputs that results view, whose memory they then keep.
        written_inputs: numbers of inputs that the plan writes to.
        overlaps: what tells whether those share elements with others.
        uses_random_numbers: whether any operation draws from a generator.
        guard: the last operation that returns a Python value, if there is one.
        checks_data: whether any operation only raises or does nothing, depending on data.
        replayer: what a device keeps to replay the plan by other means than call by call.
    """

    def __init__(self, plan: MemoryPlan, stack: Region, device: torch.device, *, min_adopted_bytes: int | None) -> None:
        """Resolve every operator and make every operand.

        Args:
            plan: the plan.
            stack: where its activations lie.
            device: where its results are made.
            min_adopted_bytes: from which size results of operators without `out=` form stay where these allocate them;
                None for never.

        Raises:
            UnsupportedOperatorError: an operator that the server does not run.
            OutOfMemoryError: a result that could never be held.
        """
        self._plan = plan
        self._trace = plan.trace
        self._stack = stack
        self._device = device
        self._input_by_storage: dict[int, int] = {}
        for index in range(self._trace.num_inputs):
            self._input_by_storage.setdefault(self._trace.values[index].storage, index)
        self._constants = {self._trace.values[i].storage: tensor.to(device) for i, tensor in self._trace.constants}
        self.inputs = {index: InputSlot() for index in self._input_by_storage.values()}
        for index, input_slot in self.inputs.items():
            input_slot.expect(self._trace.values[index].meta)
        self._weights_bound_at = -1
        self._argument_slots: list[InputSlot | None] = []
        self.replayer: object | None = None
        adopted = adopted_storages(self._trace, min_adopted_bytes)
        output_storages = {self._trace.values[index].storage for index in self._trace.outputs}
        self.outputs = {
            storage: OutputSlot() for storage in output_storages - set(self._input_by_storage) - set(self._constants)
        }
        self.num_outputs = len(self._trace.outputs)
        returned = output_storages & set(self._input_by_storage)
        self.returned_inputs = {self._input_by_storage[storage] for storage in returned}
        self._adopted: dict[int, ExchangeableStorage] = {
            storage: self.outputs.get(storage) or ExchangeableStorage() for storage in adopted
        }
        self._adopted_outputs = [slot for storage, slot in self._adopted.items() if storage in self.outputs]
        self._tensors = [self._make_tensor(index) for index in range(len(self._trace.values))]
        self._planned_outputs = [slot for storage, slot in self.outputs.items() if storage not in adopted]
        # Only where these lie is known before the replay.
        self._has_known_outputs = output_storages <= self.outputs.keys() - adopted
        self._ready: Results | None = None
        self._make_outputs()
        made = NodeCalls(
            self._trace,
            self._tensors,
            device,
            inputs=self._input_by_storage,
            constants=self._constants.keys(),
            adopted=self._adopted,
        )
        self.calls, self.guard, self.checks_data = made.calls, made.guard, made.checks_data
        inputs = [value.meta for value in self._trace.values[: self._trace.num_inputs]]
        self.overlaps = Overlaps(inputs, made.written_inputs)
        self.written_inputs, self.uses_random_numbers = made.written_inputs, made.uses_random_numbers
        self._places: dict[int, Entry] = {}

    def _make_outputs(self) -> None:
        for storage, slot in self.outputs.items():
            num_bytes = self._trace.storage_bytes[storage]
            if num_bytes > self._stack.capacity_bytes:
                raise OutOfMemoryError(
                    f"A plan returns a tensor of {num_bytes} bytes, more than the Stack segment's "
                    f"{self._stack.capacity_bytes}; use a smaller input or raise GENIE_STACK_MB."
                )
            if storage not in self._adopted:
                slot.renew(num_bytes, self._device)

    def place(self, number: int, num_bytes: int) -> Entry:
        """Return the binding's own tensor for the dense elements of an input, the same one at every call.

        Raises:
            PlanError: there is no such input, it would outlive the call, its elements are not so many bytes, or too many.
        """
        place = self._places.get(number)
        if place is not None and place.tensor.nbytes == num_bytes:
            return place
        if num_bytes > MAX_INLINE_BYTES:
            raise PlanError(
                f"{num_bytes} bytes were passed with a call, {MAX_INLINE_BYTES} may be; make a tensor of them."
            )
        if number not in self.inputs or number in self.written_inputs or number in self.returned_inputs:
            raise PlanError(f"Input {number} of a plan cannot be passed with a call; make a tensor of it.")
        meta = self._trace.values[number].meta
        check_length(meta, num_bytes)
        tensor = torch.empty_strided(meta.shape, meta.strides, dtype=meta.dtype, device=self._device)
        assert tensor.nbytes == num_bytes, f"a place of {tensor.nbytes} bytes was made for {num_bytes}"
        place = self._places[number] = Entry(tensor)
        return place

    def own_tensor(self, number: int, source: torch.Tensor) -> torch.Tensor:
        """Return a tensor with the elements of an input that nobody else writes to: its place, if `source` lies there, or a copy."""
        place = self._places.get(number)
        return source.clone() if place is None or place.tensor is not source else source

    def prepare(self, weights: list[Entry], arguments: list[Entry], num_moves: int) -> None:
        """Bind this call's inputs and make sure that no earlier result is overwritten.

        Args:
            weights: the leading inputs, the same at every call.
            arguments: the others.
            num_moves: how often any tensor got other memory; weights are bound again only after that.
        """
        if num_moves != self._weights_bound_at:
            slots = list(map(self.inputs.get, range(self._trace.num_inputs)))
            for slot, entry in zip(slots, weights, strict=False):
                if slot is not None:
                    slot.bind(entry.tensor)
            self._argument_slots = slots[len(weights) :]
            self._weights_bound_at = num_moves
        for slot, entry in zip(self._argument_slots, arguments, strict=True):
            if slot is not None and slot.source is not entry.tensor:
                slot.bind(entry.tensor)
        if self._ready is None:
            self.make_results_ready()

    def make_results_ready(self) -> None:
        """Exchange the storages of earlier results that somebody still holds, and make the next results over them."""
        if self._ready is None:
            for output in self._planned_outputs:
                output.renew_if_held(self._device)
            if self._has_known_outputs:
                self._ready = self._make_results()
                first = next(iter(self._ready.tensors), None)
                if first is not None and first.is_cpu and first.is_contiguous():
                    self._ready.fetch(first)

    def run(self) -> None:
        """Call every operation in order."""
        try:
            for call, args, kwargs in self.calls:
                call(*args, **kwargs)
        except BaseException:
            for slot in self._adopted.values():
                slot.let_go()
            raise

    def check(self, inputs: Inputs) -> None:
        """Refuse arguments of other metadata than was planned for.

        Raises:
            PlanError: there is one.
        """
        for number, slot in self.inputs.items():
            if number >= inputs.num_weights:
                slot.check(inputs.tensor(number))

    def point_inputs_at(self, buffers: dict[int, torch.Tensor]) -> None:
        """Let inputs, by number, be read from other tensors until `let_inputs_go`."""
        for number, buffer in buffers.items():
            self.inputs[number].point_at(buffer.untyped_storage(), int(buffer.storage_offset()))

    def let_inputs_go(self) -> None:
        """Hold no input any more, and bind every one again at the next call, even if it is the same tensor."""
        self._weights_bound_at = -1
        for slot in self.inputs.values():
            slot.source = None
            slot.let_go()

    def renew_outputs(self) -> None:
        """Let the next results be written to memory that nothing else uses."""
        self._ready = None
        for output in self._planned_outputs:
            output.renew(output.storage.nbytes(), self._device)

    @property
    def held_bytes(self) -> int:
        """Memory that the binding keeps beside the Stack: bound tensors, the storages of its results, places of inputs."""
        num_bytes = len(self._tensors) * _TENSOR_BYTES
        num_bytes += sum(slot.storage.nbytes() for slot in self.outputs.values())
        return num_bytes + sum(place.tensor.nbytes for place in list(self._places.values()))

    @property
    def output_storages(self) -> list[int | None]:
        """The storage of each result, where it is one of the results' own; None where it is an input's or a constant's."""
        storages = (self._trace.values[index].storage for index in self._trace.outputs)
        return [storage if storage in self.outputs else None for storage in storages]

    def take_results(self) -> Results:
        """Return new tensors over the current storages of the outputs; those that were adopted are the caller's alone."""
        ready, self._ready = self._ready, None
        results = self._make_results() if ready is None else ready
        for slot in self._adopted_outputs:
            slot.let_go()
        return results

    def _make_results(self) -> Results:
        return Results([self._tensors[index].detach() for index in self._trace.outputs])

    def _make_tensor(self, index: int) -> torch.Tensor:
        value = self._trace.values[index]
        slot = self._adopted.get(value.storage) or self.outputs.get(value.storage)
        base_offset = 0
        if value.storage in self._input_by_storage:
            number = self._input_by_storage[value.storage]
            slot, base_offset = self.inputs[number], self._trace.values[number].meta.storage_offset
        if value.storage in self._constants:
            source = self._constants[value.storage]
            return source.as_strided(value.meta.shape, value.meta.strides, value.meta.storage_offset)
        if slot is None:
            return self._stack.tensor(self._plan.placement.offsets[value.storage], value.meta)
        tensor = torch.empty(0, dtype=value.meta.dtype, device=self._device)
        relative = TensorMeta(
            value.meta.shape, value.meta.strides, value.meta.dtype, value.meta.storage_offset - base_offset
        )
        slot.tensors.append((tensor, relative))
        return tensor
