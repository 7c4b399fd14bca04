"""Where a worker's frames may go beside its own analyses: a stream engine that has taken the run's query over."""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from inference_insitu.inference.frame import Frame


class Route(Enum):
    """Where a frame goes: answered in this process, handed over, or left in its ring for now."""

    HERE, AWAY, WAIT = range(3)


class Elsewhere(Protocol):
    """What takes frames over."""

    def route(self, stream: str, rank: int, step: int) -> Route:
        """Where a frame goes; asked in the order of steps of each stream and rank."""
        ...

    def hand_over(self, frames: Sequence[tuple[Frame, int]]) -> bool:
        """Take all ``frames`` over for good, each with its attempts; False where that cannot be done now."""
        ...

    def answered(self, stream: str, rank: int, step: int, outcome: str) -> None:
        """A frame has met its end here."""
        ...

    def progress(self) -> bool:
        """Go on; whether anything happened. Never waits for longer than a broker takes to answer."""
        ...

    @property
    def settled(self) -> bool:
        """Whether every frame that was handed over has its answer."""
        ...

    def close(self) -> None:
        """No frame will follow."""
        ...


class Nowhere:
    """Everything is answered here."""

    settled = True

    def route(self, stream: str, rank: int, step: int) -> Route:
        """Here."""
        return Route.HERE

    def hand_over(self, frames: Sequence[tuple[Frame, int]]) -> bool:
        """Nobody takes them."""
        return False

    def answered(self, stream: str, rank: int, step: int, outcome: str) -> None:
        """Nobody asks."""

    def progress(self) -> bool:
        """Nothing happens."""
        return False

    def close(self) -> None:
        """Nobody waits."""
