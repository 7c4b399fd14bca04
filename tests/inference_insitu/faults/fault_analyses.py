"""An analysis that misbehaves when it is told to: at which frame, at which start, once or every time.

It remembers across its lives in empty files of the run's folder, made before it does what may end it.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference_insitu import Variable
from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame

LONGEST_S = 120.0
"""Nothing in here lasts for ever, so that a test that fails leaves nothing behind for long."""


class Faulty(Analysis):
    """Answers with the mean.

    Parameters
    ----------
    frames : step of rank 0 → what to do with its frame: ``once:kill``, ``always:loop``.
    starts : what to do in the first, second, … life that gets so far, before it is ready.
    answer_s, start_s : how long an answer and the start take.
    at_close : what to do at the end.
    awaits : file in the run's folder that holds more than zeros before the first answer.
    """

    model = "faulty"

    def __init__(
        self,
        frames: Mapping[str, str] | None = None,
        starts: Sequence[str] = (),
        *,
        answer_s: float = 0.0,
        start_s: float = 0.0,
        at_close: str = "",
        awaits: str = "",
    ) -> None:
        self._awaits = awaits
        self._frames = {int(step): what.split(":") for step, what in (frames or {}).items()}
        self._starts, self._answer_s, self._start_s, self._at_close = starts, answer_s, start_s, at_close

    def open(self, output: Path, worker: int, incarnation: int) -> None:
        self._folder = output
        for number, what in enumerate(self._starts):
            if self._first_time(f"start-{number}"):
                misbehave(what)
                break

    def warm_up(self, variable: Variable) -> None:
        time.sleep(self._start_s)

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        awaits, self._awaits = self._awaits, ""
        if awaits:
            wait_for_more_than_zeros(self._folder / awaits)
        time.sleep(self._answer_s)
        return [self._one(frame) for frame in frames]

    def close(self) -> None:
        if self._at_close:
            misbehave(self._at_close)

    def _one(self, frame: Frame) -> Mapping[str, Any]:
        often, what = self._frames.get(frame.step, ("never", "")) if frame.rank == 0 else ("never", "")
        if often == "always" or (often == "once" and self._first_time(frame.step)):
            misbehave(what)
            return {"mean": float("nan")} if what == "nan" else {"mean": object()}
        return {"mean": float(frame.array.mean())}

    def _first_time(self, occasion: int | str) -> bool:
        try:
            (self._folder / f"misbehaved-{occasion}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def wait_for_more_than_zeros(path: Path) -> None:
    end = time.monotonic() + LONGEST_S / 6
    while not path.read_bytes().strip(b"\0"):
        if time.monotonic() > end:
            raise TimeoutError(f"{path} holds zeros for ever")
        time.sleep(0.005)


def misbehave(what: str) -> None:
    match what:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "segfault":
            ctypes.string_at(0)
        case "raise":
            raise RuntimeError("the analysis raises,\nin two lines")
        case "memory":
            raise MemoryError
        case "exit":
            sys.exit(3)
        case "vanish":
            os._exit(0)
        case "loop":
            end = time.monotonic() + LONGEST_S
            while time.monotonic() < end:
                pass
