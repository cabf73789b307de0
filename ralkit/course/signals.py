"""Signals that ask a run to end: Ctrl-C, `kill`, and the closing of its terminal."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CLEAN_UP = 5.0  # seconds that a run has to clean up before a further signal interrupts that, too

Handler = Callable[[int, FrameType | None], None]


class Ended(KeyboardInterrupt):
    """A signal asked this process to end; a shell expects the exit status 128 + `signum`."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise Ended inside the block when SIGINT, SIGTERM or SIGHUP arrives.

    A signal that this process was told to ignore, as `nohup` tells it, stays ignored.
    """
    last = -CLEAN_UP

    def end(signum: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before >= CLEAN_UP:
            raise Ended(signum)

    with _handled_by(end):
        yield


@contextmanager
def postponed(act: Callable[[], object]) -> Iterator[list[int]]:
    """Call `act` when such a signal arrives inside the block, and raise Ended only where the block ends.

    An event loop survives no exception at an arbitrary place, so `act` stops what the loop waits for instead. The block
    gets the list of the signals that have arrived.
    """
    arrived: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        arrived.append(signum)
        act()

    try:
        with _handled_by(note):
            yield arrived
    finally:
        if arrived:
            raise Ended(arrived[0]) from None


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python sends signals to the main thread only
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in ENDING}
    ours = [signum for signum, was in before.items() if was is not signal.SIG_IGN]
    for signum in ours:
        signal.signal(signum, handler)
    try:
        yield
    finally:
        for signum in ours:
            signal.signal(signum, before[signum])
