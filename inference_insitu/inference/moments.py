"""The smallest useful analysis: what a monitor shows of any array, and an example of a plugin."""

from typing import Any

import numpy as np

from inference_insitu.inference.frame import Frame


def moments(frame: Frame) -> dict[str, Any]:
    """Smallest and largest value, mean and standard deviation of a frame of real numbers."""
    values = frame.array
    return {
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "mean": float(values.mean(dtype=np.float64)),
        "deviation": float(values.std(dtype=np.float64)),
    }
