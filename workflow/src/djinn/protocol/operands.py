"""The operand that stands for the server's own device.

A plain class, because the encoder would write a dataclass as a map instead of asking how it travels.
"""

from __future__ import annotations


class OwnDevice:
    """The device that the server computes on, whatever that is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "OWN_DEVICE"


OWN_DEVICE = OwnDevice()
