"""Whether ``publish`` is compiled here, or goes by Python and takes longer."""

import os

from inference_insitu.doctor.verdict import Level, Verdict
from inference_insitu.native.compiled import VARIABLE, lane_or_reason

NAME = "publish"


def publishing() -> Verdict:
    """Compile it, as the first run would, and load it."""
    if os.environ.get(VARIABLE) == "python":
        return Verdict(NAME, Level.OK, f"in Python, as {VARIABLE} says", facts={"compiled": None})
    found, said = lane_or_reason()
    if found is None:
        advice = "nothing has to be done; with a C compiler and Python's headers a frame costs some 0.1 ms less"
        return Verdict(NAME, Level.NO, f"in Python: {said}", advice, {"compiled": None})
    return Verdict(NAME, Level.OK, f"compiled: {said}", facts={"compiled": said})
