"""How often this process has forked: what it held before belongs to another process as well."""

from __future__ import annotations

import os


class Forks:
    """A count, the same in both processes."""

    count = 0

    @classmethod
    def note(cls) -> None:
        """Count one that is about to happen."""
        cls.count += 1


os.register_at_fork(before=Forks.note)
