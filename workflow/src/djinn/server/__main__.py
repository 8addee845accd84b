"""The server by hand: `python -m djinn.server --listen unix:PATH`."""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import signal
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from djinn.config import Config
from djinn.errors import DjinnError
from djinn.transport.address import Address

if TYPE_CHECKING:
    from djinn.server.listener import Listener

READY_LINE = "djinn server ready at "


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted, terminated or, if asked, until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m djinn.server", description=__doc__)
    parser.add_argument("--listen", required=True, metavar="ADDRESS", help="unix:PATH or tcp://HOST:PORT (port 0: any)")
    parser.add_argument(
        "--config",
        metavar="JSON",
        help="settings as JSON, - for the first line of standard input; default: the GENIE_* variables",
    )
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input closes")
    parser.add_argument("--private-folder", metavar="PATH", help="a folder to remove at the end, if its maker has not")
    options = parser.parse_args(arguments)
    # Torch's modules are hundreds of thousands of objects that never die: to look through them for cycles takes a tenth of
    # the start, and later would happen in mid-call.
    gc.disable()
    from djinn.server.core import ServerCore
    from djinn.server.listener import Listener

    threading.excepthook = _end_with_thread

    is_launched = options.config == "-"
    settings = sys.stdin.readline() if is_launched else options.config
    if is_launched and not settings:  # whoever launched this server ended before using it
        _remove(options.private_folder)
        return 0
    try:
        config = Config.from_environment() if settings is None else Config.from_json(settings)
        listener = Listener(ServerCore(config), Address.parse(options.listen))
    except DjinnError as error:
        print(error, file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _exit(listener, options.private_folder))
    if options.exit_with_stdin:
        threading.Thread(target=_exit_with_stdin, args=(listener, options.private_folder), daemon=True).start()
    gc.freeze()
    gc.enable()
    with suppress(BrokenPipeError):  # a client that was killed meanwhile; standard input has ended too
        print(f"{READY_LINE}{listener.address}", flush=True)
    listener.serve()
    return 0


def _end_with_thread(failure: threading.ExceptHookArgs) -> None:
    """End the process with a thread that moves sessions, which all of them would wait for; not with one of a connection."""
    from djinn.server.listener import CONNECTION_THREAD

    if failure.thread is not None and failure.thread.name == CONNECTION_THREAD:
        threading.__excepthook__(failure)
        return
    try:
        # One sentence, since clients pass on what the server said last.
        what = "".join(traceback.format_exception_only(failure.exc_type, failure.exc_value)).strip()
        where = traceback.extract_tb(failure.exc_traceback)[-1]
        name = "of no name" if failure.thread is None else failure.thread.name
        print(
            f"Thread {name} failed in {where.name} ({where.filename}:{where.lineno}) with {what}; sessions would wait for it "
            "for good, so the server ends: start it again.",
            file=sys.stderr,
            flush=True,
        )
    finally:
        # Without the private folder's removal, since the client reads there what was said.
        os._exit(1)


def _exit_with_stdin(listener: Listener, private_folder: str | None) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    _exit(listener, private_folder)


def _exit(listener: Listener, private_folder: str | None) -> None:
    # Before the listener ends, with which the main thread may end the process.
    _remove(private_folder)
    listener.close()
    # Connection threads sleep in the kernel and hold nothing that outlives the process.
    os._exit(0)


def _remove(private_folder: str | None) -> None:
    if private_folder is not None:  # a client that was killed could not
        shutil.rmtree(private_folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
