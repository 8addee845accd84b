"""An exception is an interrupt if a handler of a signal raised it, whatever it is."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from djinn.interrupts import is_interrupt


def _raise_timeout(*_: Any) -> None:
    raise TimeoutError


class _Watch:
    def handle(self, *_: Any) -> None:
        """Raise from deeper down."""
        _raise_timeout()


@pytest.mark.parametrize("handler", [_raise_timeout, _Watch().handle])
def test_what_a_handler_raises_is_one(handler: Any) -> None:
    """Also by way of others."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(TimeoutError) as caught:
            signal.raise_signal(signal.SIGALRM)
        assert is_interrupt(caught.value)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_same_exception_from_elsewhere_is_none() -> None:
    """It may be caught for the failure that it is."""
    with pytest.raises(TimeoutError) as caught:
        _raise_timeout()
    assert not is_interrupt(caught.value)
