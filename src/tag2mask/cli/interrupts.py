"""Ctrl-C: how the command notices it and how it ends; imports little, so that it is ready first.

Python turns the signal into a `KeyboardInterrupt` wherever the main thread is. Some code swallows
it (callbacks from C, finalizers) or turns it into another exception (a module half imported). So
the signal is remembered, and the exception is raised again until the command has ended.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""Exit code, that of a shell for SIGINT."""
REPEAT_SECONDS = 1.0
"""Time after which the exception is raised again, s."""
_noticed = threading.Event()
_ended = threading.Event()
_sending = threading.Lock()
"""Held while the signal is sent again: once it is released with ``_ended``, none follows."""


def catch_interrupts() -> None:
    """Remember SIGINT and raise `KeyboardInterrupt` until the command ends.

    Child processes, such as those that read photos, ignore the signal: the parent ends them.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, as in the background of a shell script
    own = os.getpid()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if os.getpid() != own:
            return
        if not _noticed.is_set():
            _noticed.set()
            _thread.start_new_thread(_repeat, ())  # not Thread, whose locks this code may hold
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    sys.unraisablehook = _on_swallowed
    threading.excepthook = _on_thread_error


def stop_on_terminate() -> threading.Event:
    """Return an event that SIGTERM sets from now on, instead of ending the process."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop


def was_interrupted() -> bool:
    """Return whether SIGINT has arrived."""
    return _noticed.is_set()


def has_ended() -> bool:
    """Return whether the message of the interrupt was printed."""
    return _ended.is_set()


def stop_catching() -> None:
    """From now on SIGINT ends the process at once, without a message."""
    with _sending:
        _ended.set()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def end_quietly_on_interrupt() -> None:
    """From now on SIGINT raises `KeyboardInterrupt` once, which ends a server as intended."""
    stop_catching()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_interrupted() -> NoReturn:
    """Print that the command was interrupted, and end the process by SystemExit."""
    if was_interrupted():
        stop_catching()
    # An interrupt inside code compiled from a string, as in dataclasses, makes Python end by the
    # signal instead of our exit code, unless such code runs once more.
    exec("")
    print("interrupted; run the same command again to resume", file=sys.stderr, flush=True)
    raise SystemExit(INTERRUPTED)


def _repeat() -> None:
    """Send the signal to the main thread repeatedly; this also ends waiting system calls."""
    main = threading.main_thread().ident
    while True:
        time.sleep(REPEAT_SECONDS)
        with _sending:
            if _ended.is_set():
                return
            if sys.platform == "win32" or main is None:
                _thread.interrupt_main()
            else:
                signal.pthread_kill(main, signal.SIGINT)


def _on_swallowed(found: sys.UnraisableHookArgs) -> None:
    """Print nothing of a swallowed interrupt, which is raised again."""
    if not was_interrupted():
        sys.__unraisablehook__(found)


def _on_thread_error(failed: threading.ExceptHookArgs) -> None:
    """Print nothing of a thread that failed because the command is being interrupted."""
    if not was_interrupted():
        threading.__excepthook__(failed)
