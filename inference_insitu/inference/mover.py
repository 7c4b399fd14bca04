"""Spilled frames go to their file in a worker, by a thread beside its answers: the simulation waits for no disk."""

import threading
from collections.abc import Sequence

from inference_insitu.ring.consumer import Consumer

LOOK_S = 0.005
REFUSED_S = 1.0
"""After a file has not taken a frame."""


class Mover:
    """Moves what spills in the rings of ``consumers``, which may change meanwhile, until ``stop`` is set.

    Nothing is told of a disk that is full: the frames stay in memory. Once that is full too the simulation writes to
    the file itself, and says of each frame that it does not take why.
    """

    def __init__(self, consumers: Sequence[Consumer], stop: threading.Event) -> None:
        self._consumers, self._stop = consumers, stop
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        wait_s = LOOK_S
        while not self._stop.wait(wait_s):
            wait_s = LOOK_S
            for consumer in tuple(self._consumers):
                try:
                    if consumer.move():
                        wait_s = 0.0
                except OSError:
                    wait_s = REFUSED_S
