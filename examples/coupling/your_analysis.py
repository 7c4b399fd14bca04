"""An analysis of your own: a function of one frame. Name it in the configuration as ``your_analysis:roughness``."""

import numpy as np

from inference_insitu import Frame


def roughness(frame: Frame, *, scale: float = 1.0) -> dict[str, float]:
    """Root mean square of the steps between neighbours; ``scale`` comes from the configuration's ``options``."""
    return {"roughness": scale * float(np.sqrt(np.mean(np.diff(frame.array) ** 2)))}
