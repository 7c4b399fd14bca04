"""The only way to wait: with a timeout, and asleep, so that the core is the simulation's meanwhile."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], *, timeout_s: float, interval_s: float = 0.002) -> bool:
    """Whether ``condition`` came true within ``timeout_s``, looked at every ``interval_s``."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(interval_s)
    return True
