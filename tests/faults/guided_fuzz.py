"""Fuzzes one of the targets, guided by the coverage of Djinn's Python code: `guided_fuzz.py TARGET RUNS FOUND KEPT`.

What reaches new code is written to the folder FOUND; the run begins with that and with the folder KEPT. An input that
breaks the runtime's promise ends the run with an exception and is written to the present folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
with atheris.instrument_imports(include=["djinn.planning", "djinn.protocol", "djinn.server"]):
    from fuzz_targets import TARGETS

# The same inputs at every run of the same corpus; a message of more than 4 KiB would only be slow.
_FLAGS = ("-seed=20261125", "-max_len=4096", "-timeout=60", "-rss_limit_mb=4096", "-print_final_stats=1")


def main() -> None:
    """Fuzz; the process ends with status 0 after the given number of inputs."""
    target, num_runs, *folders = sys.argv[1:]
    atheris.Setup([sys.argv[0], f"-runs={num_runs}", *_FLAGS, *folders], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
