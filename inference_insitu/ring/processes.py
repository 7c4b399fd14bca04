"""Whether the process that once owned a thing still runs: a number alone may have been given anew."""

from pathlib import Path


def started_at(pid: int) -> int | None:
    """Start of the process ``pid`` in clock ticks since boot; None where it does not run.

    A zombie, ended and not yet waited for, does not run.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def runs(pid: int, started: int) -> bool:
    """Whether the process ``pid`` that started at ``started`` ticks still runs."""
    return pid > 0 and started_at(pid) == started
