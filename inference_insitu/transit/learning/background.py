"""The log is read on while the main thread trains: what nobody reads would be gone, or would fill the log."""

import threading
from collections import deque
from collections.abc import Callable

from inference_insitu.transit.learning.collecting import Collecting
from inference_insitu.transit.learning.examples import Example
from inference_insitu.transit.log.stream_log import LogAway
from inference_insitu.watching.events import EventLog

PAUSE_S, AWAY_PAUSE_S = 0.1, 1.0


class Background:
    """Polls a ``Collecting`` from a thread of its own.

    Parameters
    ----------
    make : the collecting, with a connection of its own; what it sees is to be given to it.
    most : newest frames with truth that are held for whoever asks.
    """

    def __init__(self, make: Callable[[Callable[[Example], None]], Collecting], most: int, events: EventLog) -> None:
        self._fresh: deque[Example] = deque(maxlen=most)
        self._collecting = make(self._fresh.append)
        self._events = events
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def came(self) -> int:
        """Frames with truth so far, of any life that is remembered."""
        return self._collecting.training.seen + self._collecting.held_out.seen

    @property
    def figures(self) -> dict[str, int]:
        """How many came, were kept, set aside, missed."""
        one = self._collecting
        kept = {"training": len(one.training.files), "held_out": len(one.held_out.files)}
        return {"came": one.came, **kept, "set_aside": one.aside, "missed": one.missed}

    def fresh(self) -> list[Example]:
        """Frames that came since this was last asked, the newest of them."""
        found = []
        while self._fresh:
            found.append(self._fresh.popleft())
        return found

    def kept(self) -> tuple[list[Example], list[Example]]:
        """Frames to train on, and frames to judge by.

        Raises
        ------
        Exception
            What collecting failed with.
        """
        self.check()
        with self._lock:
            one = self._collecting
            return one.examples(one.training), one.examples(one.held_out)

    def check(self) -> None:
        """Raise what the thread failed with."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop, and let the log keep nothing for us any more."""
        self._stop.set()
        self._thread.join()
        try:
            self._collecting.close()
        except LogAway:
            self._events.first("log_away", "closing")

    def _run(self) -> None:
        while not self._stop.is_set():
            pause_s = PAUSE_S
            try:
                with self._lock:
                    busy = self._collecting.poll()
                pause_s = 0.0 if busy else PAUSE_S
            except LogAway as error:
                self._events.first("log_away", "collecting", error=str(error))
                pause_s = AWAY_PAUSE_S
            except Exception as error:
                self._error = error
                return
            self._stop.wait(pause_s)
