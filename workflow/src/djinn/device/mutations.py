"""A count of changes to modules and parameters on the device."""

from __future__ import annotations


class Mutations:
    """Counts changes to modules on the device, so that unchanged ones need not be described again at each call."""

    count = 0
