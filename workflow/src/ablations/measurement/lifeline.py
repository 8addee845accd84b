"""Ends this process when the workflow that started it is gone.

A workflow that is killed leaves its jobs running. A trial that then finished would be measured again all the same,
since nobody noted that it had; and it would hold the machine meanwhile.
"""

from __future__ import annotations

import os
import select
import sys
import threading

from ablations.errors import SettingsError

# What the kernel's type for them holds.
_LARGEST_ID = 2**31 - 1


def hang_on(process_id: int) -> None:
    """End this process, with a sentence, as soon as the process of that number has ended.

    A thread sleeps in the kernel until then, so that nothing is disturbed that is being measured.

    Raises:
        SettingsError: no process can have this number, or the kernel does not let this one wait for it.
    """
    if not 0 < process_id <= _LARGEST_ID:
        raise SettingsError(
            f"--workflow-pid is {process_id}, but processes are numbered from 1 to {_LARGEST_ID}; pass the workflow's number."
        )
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        _end(process_id)
    except OSError as error:
        raise SettingsError(
            f"--workflow-pid is {process_id}, which cannot be waited for ({error.strerror}); pass the workflow's number."
        ) from error
    threading.Thread(target=_await_end, args=(descriptor, process_id), name="lifeline", daemon=True).start()


def _await_end(descriptor: int, process_id: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()
    _end(process_id)


def _end(process_id: int) -> None:
    print(f"error: The workflow, process {process_id}, is gone; start it again to go on.", file=sys.stderr, flush=True)
    os._exit(2)
