"""How many workers somebody asks for: a small file in the run's folder, and waiting for what becomes of it."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cdi.config import read_config
from cdi.errors import RunError
from cdi.whole_file import whole_file
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.placement.joined import CONFIG
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import Event, read_events

NAME = "workers.json"
RULE = "rule"


@dataclass(frozen=True)
class Wish:
    """``count`` workers on each node; None for as many as the rule says. ``id`` is that of the asking."""

    id: str
    count: int | None


class WishFile:
    """The wish in the folder ``output``."""

    def __init__(self, output: Path) -> None:
        self._path = output / NAME
        self._seen: tuple[int, int] | None = None
        self._wish: Wish | None = None

    def read(self) -> Wish | None:
        """The last one; None before the first. What is no wish is none."""
        try:
            status = os.stat(self._path)
            seen = status.st_mtime_ns, status.st_ino
            if seen != self._seen:
                self._seen = seen
                values = json.loads(self._path.read_text())
                count = values["count"]
                self._wish = Wish(str(values["id"])[:64], None if count is None else max(1, int(count)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            return self._wish
        return self._wish

    def write(self, wish: Wish) -> None:
        """Ask."""
        with whole_file(self._path) as file:
            file.write_text(json.dumps(asdict(wish)) + "\n")


def ask_for_workers(output: Path, count: str, *, timeout_s: float) -> list[Event]:
    """Have ``count`` workers, or as many as the ``rule`` says, answer the run in ``output`` on every node.

    Returns
    -------
    What each node says: ``workers_changed`` with ``count`` and the ``rings`` of each worker.

    Raises
    ------
    ValueError
        If the run's workers do not come and go, or there are not so many.
    RunError
        If some node has not changed within ``timeout_s``; it may yet.
    """
    path = output / CONFIG
    if not path.exists():
        raise ValueError(f"{output} must be a folder of a coupled run, got one without {CONFIG}")
    placement = read_config(CouplingConfig, path).placement
    if placement.scaling is None:
        raise ValueError(f"{path} must have placement.scaling for workers to come and go, got none")
    number = None if count == RULE else int(count) if count.isdecimal() else 0
    if number is not None and not 1 <= number <= placement.ranks:
        raise ValueError(f"the number of workers must be {RULE} or lie in [1, {placement.ranks}], got {count!r}")
    wish = Wish(secrets.token_hex(6), number)
    WishFile(output).write(wish)
    found: list[Event] = []

    def answered() -> bool:
        events = read_events(output)
        found[:] = [one for one in events if one.event == "workers_changed" and one.fields.get("wish") == wish.id]
        return 0 < sum(one.event == "sharing" for one in events) <= len(found)

    if not wait_until(answered, timeout_s=timeout_s, interval_s=0.1):
        raise RunError(f"the workers of {output} have not changed within {timeout_s:g} s; they may yet")
    return found
