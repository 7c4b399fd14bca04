"""The live line on stderr: what the network says of the newest pattern."""

import sys
import time
from typing import TextIO

from inference_insitu.inference.frame import Frame
from models.prediction import Prediction

UNITS = {"time_ps": "ps", "load_nN": "nN"}
"""What is shown of a frame's attributes, and its unit."""


class ProgressLine:
    """Shows each answer: in place on a terminal, as whole lines elsewhere."""

    def __init__(self, last_step: int, *, terminal: bool, stream: TextIO | None = None) -> None:
        self._last_step, self._terminal = last_step, terminal
        self._stream = stream if stream is not None else sys.stderr
        self._first: tuple[int, float] | None = None
        """Step of the first answer, and when it came."""

    def show(self, frame: Frame, prediction: Prediction) -> None:
        """Show ``prediction`` of ``frame``."""
        line = describe(frame, prediction, self._last_step) + self._pace(frame.step, time.monotonic())
        # One write a line: lines of several processes would otherwise mix.
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def _pace(self, step: int, now_s: float) -> str:
        """Steps a second since the first answer, and the time that is left at this pace."""
        if self._first is None:
            self._first = (step, now_s)
        steps, elapsed_s = step - self._first[0], now_s - self._first[1]
        if steps <= 0 or elapsed_s <= 0:
            return ""
        left_s = max(0, round((self._last_step - step) * elapsed_s / steps))
        return f"  {steps / elapsed_s:.3g} steps/s, {left_s // 60}:{left_s % 60:02d} left"

    def close(self) -> None:
        """Leave the last line standing."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()


def describe(frame: Frame, prediction: Prediction, last_step: int) -> str:
    """One line, short enough for a terminal: step, load, answer and doubt about it."""
    told = "".join(f"{frame.attributes[name]:8.2f} {unit}" for name, unit in UNITS.items() if name in frame.attributes)
    answer = f"{prediction.defect_class} × {prediction.count}" if prediction.count else prediction.defect_class
    doubt = f" ({prediction.undetermined})" if prediction.undetermined else ""
    return (
        f"step {frame.step:>6}/{last_step}{told}  P(defect) {prediction.defect_probability:.2f}  {answer}{doubt}  "
        f"{prediction.seconds:.2f} s"
    )
