"""Results are described as they lie in memory; what this device does not hold is refused."""

from __future__ import annotations

import pytest
import torch

from djinn.core import DTYPE_CODES
from djinn.errors import UnsupportedOperatorError
from djinn.server.operator_results import describe

_COMPLEX = torch.tensor([1 + 2j, 3 - 4j])


def test_a_new_tensor_is_described_by_its_metadata() -> None:
    """Shape, strides, dtype and where it begins in its storage."""
    view = torch.arange(12, dtype=torch.int16).view(3, 4)[1:, ::2]
    new, output = describe("aten.x.default", view, {})
    assert new is view
    assert output == ("new", (2, 2), (4, 2), DTYPE_CODES[torch.int16], 4)


def test_an_operand_is_described_by_its_number() -> None:
    """Only that very tensor, not an equal one."""
    operand = torch.ones(2)
    numbers = {id(operand): 3}
    assert describe("aten.x.default", operand, numbers) == (
        None,
        ("same", 3, (2,), (1,), DTYPE_CODES[torch.float32], 0),
    )
    new, _ = describe("aten.x.default", operand.clone(), numbers)
    assert new is not None


@pytest.mark.parametrize("value", [3, 2.5, True, "text"])
def test_a_value_is_itself(value: object) -> None:
    """It is no tensor."""
    assert describe("aten.x.default", value, {}) == (None, ("value", value))


def test_nothing_is_nothing() -> None:
    """Some operators return no tensor in a tensor's place."""
    assert describe("aten.x.default", None, {}) == (None, None)


@pytest.mark.parametrize("marked", [_COMPLEX.conj(), _COMPLEX.conj().imag])
def test_a_marked_result_is_made_whole(marked: torch.Tensor) -> None:
    """The other side has no marks: its memory has to hold the elements."""
    assert marked.is_conj() or marked.is_neg()
    new, output = describe("aten.x.default", marked, {})
    assert new is not None
    assert not new.is_conj()
    assert not new.is_neg()
    assert torch.equal(new, marked)
    assert output == ("new", tuple(new.shape), tuple(new.stride()), DTYPE_CODES[new.dtype], new.storage_offset())


def test_a_mark_on_a_given_tensor_is_refused() -> None:
    """It cannot be made whole without its caller's other views of it."""
    marked = _COMPLEX.conj()
    with pytest.raises(UnsupportedOperatorError, match="leave out= away"):
        describe("aten.x.default", marked, {id(marked): 0})


@pytest.mark.parametrize("value", [torch.eye(2).to_sparse(), torch.ones(2).to(torch.float8_e8m0fnu)])
def test_what_is_not_held_is_refused(value: torch.Tensor) -> None:
    """With the operator's name."""
    with pytest.raises(UnsupportedOperatorError, match=r"aten\.x\.default returns a tensor of layout"):
        describe("aten.x.default", value, {})
