"""A user who interrupts calls again and again: every call that returns has its own result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Interrupts come at any moment of a call: while it is sent, computed, or received.
_PROGRAM = """
import signal, time, torch, djinn

NUM_INTERRUPTS = {num_interrupts}
DEVICE = "remote_accelerator:0"
djinn.init(config=djinn.Config(num_threads=1))
native = torch.nn.Linear(256, 256).requires_grad_(False)
remote = torch.nn.Linear(256, 256).requires_grad_(False)
remote.load_state_dict(native.state_dict())
remote = remote.to(DEVICE)
values = [torch.full((256, 256), float(number)) for number in range(4)]
num_interrupted = num_right = 0
is_calling = False


def interrupt(*_):
    global is_calling
    if is_calling:
        is_calling = False
        raise KeyboardInterrupt


with torch.no_grad():
    expected = [native(value) for value in values]
    signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.0071)
        # On a busy machine fewer calls end between two interrupts.
        while num_interrupted < NUM_INTERRUPTS or num_right <= NUM_INTERRUPTS / 10:
            try:
                is_calling = True
                for number in range(4):
                    assert torch.equal(remote(values[number].to(DEVICE)).cpu(), expected[number]), "a wrong result"
                    num_right += 1
                is_calling = False
            except KeyboardInterrupt:
                num_interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
djinn.audit()
djinn.shutdown()
print(num_interrupted, num_right)
"""


def test_interrupted_calls_answer_no_others(run_cli: Callable[..., Any], soaks: bool) -> None:
    """A reply that nobody took is left behind, and the runtime's books stay right."""
    num_interrupts = 5_000 if soaks else 60
    done = run_cli("-c", _PROGRAM.format(num_interrupts=num_interrupts))
    assert done.returncode == 0, done.stderr[-2000:]
    num_interrupted, num_right = map(int, done.stdout.split())
    assert num_interrupted >= num_interrupts
    assert num_right > num_interrupts / 10
