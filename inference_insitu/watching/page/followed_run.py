"""What the page shows of a run, brought up to date from what its files grew by."""

import json
import math
import time
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inference_insitu.watching.answer_history import AnswerHistory
from inference_insitu.watching.answers_files import PATTERN as ANSWERS
from inference_insitu.watching.line_tail import LineTail
from inference_insitu.watching.live_state import RunState
from inference_insitu.watching.page.proposal import Desk, desk
from inference_insitu.watching.run_files import STEERING

RECENT_COMMANDS = 100
BLOCKS = 4
REFRESH_S, DESK_S = 0.9, 3.0
"""Files, and what may be proposed, are looked at no more often, however many pages ask."""


class FollowedRun:
    """The run in ``folder``: its state, the history of its answers, its steering.

    Attributes
    ----------
    revision : grows with every change; ``generation`` grows when another run took the folder over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generation = 0
        self.revision = 0
        self._read_s = self._desk_s = -math.inf
        self.desk = Desk(None, "")
        self._begin()

    def _begin(self) -> None:
        self.state = RunState(self.folder)
        self.history = AnswerHistory()
        self.bounds: dict[str, str] = {}
        self.commands: deque[dict[str, Any]] = deque(maxlen=RECENT_COMMANDS)
        self.command_counts: Counter[str] = Counter()
        self._tails: dict[Path, LineTail] = {}

    def refresh(self) -> None:
        """Read what is new, where the last reading is older than ``REFRESH_S``."""
        if time.monotonic() - self._read_s < REFRESH_S:
            return
        self._read()
        if any(tail.replaced for tail in self._tails.values()):
            self._begin()
            self.generation += 1
            self._read()
        self.revision += 1
        self._read_s = time.monotonic()

    def _read(self) -> None:
        self.state.refresh()
        if self.state.books is not None:
            self.desk = Desk(None, "the run has ended")
        elif time.monotonic() - self._desk_s > DESK_S:
            self.desk, self._desk_s = desk(self.folder), time.monotonic()
        for path in sorted(self.folder.glob(ANSWERS)):
            # Some blocks at each look: the page comes at once, and the history of a long run fills in.
            for _ in range(BLOCKS):
                for line in self._new_lines(path):
                    self.history.add(line)
        for line in self._new_lines(self.folder / STEERING):
            self._add_command(line)

    def _new_lines(self, path: Path) -> Iterable[str]:
        if path not in self._tails:
            self._tails[path] = LineTail(path)
        return self._tails[path].read()

    def _add_command(self, line: str) -> None:
        try:
            row = json.loads(line)
            event = str(row["event"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if event == "opened":
            told = row.get("commands")
            self.bounds = {str(name): str(text) for name, text in told.items()} if isinstance(told, dict) else {}
        elif event != "closed":
            self.command_counts[event] += 1
            self.commands.append(row)
