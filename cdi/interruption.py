"""Ctrl-C: work that can be ended in the middle is asked to, and what it has reached is kept. Free of torch."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Stop = Callable[[], bool]
"""Whether the work shall end as it stands."""


@contextmanager
def stop_at_interrupt() -> Iterator[Stop]:
    """Whether Ctrl-C was pressed; a second one gives up (``KeyboardInterrupt``).

    Outside of the main thread, which alone is interrupted, never.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        print("\ncdi: ending as it stands; Ctrl-C again gives up", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
