"""A uniform sample of all frames that came, of bounded size, in files: Vitter 1985 (ACM TOMS 11, 37), algorithm R.

The n-th frame takes a free place, or with probability k/n that of one of the k that are kept. What is drawn for it is a
function of (seed, n), so that a reservoir that is killed and goes on ends as an undisturbed one. ``taken`` says up to
where its source was read: what is read twice is offered once.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdi.config import read_object
from cdi.requirements import require
from cdi.whole_file import remove_leftovers, whole_file
from inference_insitu.transit.learning.reservoir_state import ReservoirState

STATE = "reservoir.json"
SUFFIX = ".frame"


class Reservoir:
    """Keeps at most ``places`` frames in ``folder``.

    Raises
    ------
    ValueError
        If the folder holds a reservoir of another size or seed, or a damaged one.
    """

    def __init__(self, folder: Path, *, places: int, seed: int) -> None:
        require(places >= 1, "places", "be at least 1", places)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._state = self._read(places, seed)
        self._gone: list[int] = []
        self._tidy()

    @property
    def seen(self) -> int:
        """How many frames were offered, in all lives."""
        return self._state.seen

    @property
    def taken(self) -> Mapping[str, int]:
        """Up to where each source was read."""
        return self._state.taken

    @property
    def files(self) -> list[Path]:
        """Of the frames that are kept, by their place."""
        return [self._path(number) for number in self._state.kept]

    def offer(self, content: bytes, source: str, offset: int) -> bool:
        """Take the frame at ``offset`` of ``source`` in, or pass it over; whether it is kept.

        What was offered already is passed over. The next life knows of it once ``commit`` has returned; before that it
        goes on as if it had not been offered.
        """
        if offset <= self._state.taken.get(source, 0):
            return False
        number = self._state.seen + 1
        place = place_of(number, self._state.places, self._state.seed)
        if place is not None:
            # Not flushed: a frame that is missing or cut after a power failure is found out by its checksum.
            self._path(number).write_bytes(content)
            self._gone += self._state.kept[place : place + 1]
        self._state = self._state.with_frame(number, place, source, offset)
        return place is not None

    def commit(self, source: str, reached: int) -> None:
        """Let all that was offered hold for later lives too; ``source`` was read up to ``reached``, offered or not."""
        self._state = self._state.read_to(source, reached)
        with whole_file(self._folder / STATE) as file:
            file.write_text(json.dumps(vars(self._state)) + "\n")
        for number in self._gone:
            self._path(number).unlink(missing_ok=True)
        self._gone.clear()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}{SUFFIX}"

    def _read(self, places: int, seed: int) -> ReservoirState:
        path = self._folder / STATE
        try:
            values: Any = json.loads(path.read_bytes())
        except FileNotFoundError:
            return ReservoirState(places, seed)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} must be the state of a reservoir, got: {error}") from error
        require(isinstance(values, dict), str(path), "hold an object", type(values).__name__)
        state = read_object(ReservoirState, values, origin=str(path))
        if (state.places, state.seed) != (places, seed):
            raise ValueError(
                f"{path} must be of {places} places and seed {seed}, got {state.places} and {state.seed}; remove it"
            )
        return state

    def _tidy(self) -> None:
        """Remove what a killed life wrote and did not enter, or entered as gone and did not remove."""
        remove_leftovers(self._folder)
        known = {path.name for path in self.files}
        for path in self._folder.glob(f"*{SUFFIX}"):
            if path.name not in known:
                os.unlink(path)


def place_of(number: int, places: int, seed: int) -> int | None:
    """The place that the ``number``-th frame (1, 2, …) takes; None where it is passed over."""
    if number <= places:
        return number - 1
    drawn = int(np.random.default_rng([seed, number]).integers(number))
    return drawn if drawn < places else None
