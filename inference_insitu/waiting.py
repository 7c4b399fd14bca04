"""The way to wait here: with a timeout, and asleep, so that the core is the simulation's meanwhile."""

import time
from collections.abc import Callable

AGREE_TIMEOUT_S = 600.0
"""How long ranks wait for one another where they must meet: before the first step, and at the end."""


def wait_until(condition: Callable[[], object], *, timeout_s: float, interval_s: float = 0.002) -> bool:
    """Whether ``condition`` came true within ``timeout_s``, looked at every ``interval_s``."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(interval_s)
    return True
