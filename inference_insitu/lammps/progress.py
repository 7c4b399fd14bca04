"""The live line on stderr: what the network says of the newest pattern."""

import sys
from typing import TextIO

from inference_insitu.service import Result


class ProgressLine:
    """A sink that shows each result: in place on a terminal, as whole lines elsewhere."""

    def __init__(self, steps: int, *, terminal: bool, stream: TextIO | None = None) -> None:
        self._steps, self._terminal = steps, terminal
        self._stream = stream if stream is not None else sys.stderr

    def __call__(self, result: Result) -> None:
        """Show ``result``."""
        line = describe(result, self._steps)
        # One write a line: lines of several ranks would otherwise mix.
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the last line standing."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()


def describe(result: Result, steps: int) -> str:
    """One line, short enough for a terminal: step, load, answer and doubt about it, state of the stream."""
    frame, prediction = result.frame, result.prediction
    answer = f"{prediction.defect_class} × {prediction.count}" if prediction.count else prediction.defect_class
    doubt = f" ({prediction.undetermined})" if prediction.undetermined else ""
    return (
        f"step {frame.step:>6}/{steps}  {frame.time_ps:6.2f} ps  {frame.load_nN:7.1f} nN  "
        f"P(defect) {prediction.defect_probability:.2f}  {answer}{doubt}  "
        f"{result.seconds:.2f} s  dropped {result.dropped} of {result.published}"
    )
