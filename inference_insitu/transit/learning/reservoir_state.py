"""What a reservoir knows of itself between two lives."""

from dataclasses import dataclass, field, replace

from cdi.requirements import require


@dataclass(frozen=True)
class ReservoirState:
    """``kept`` holds, by place, the number of the frame there; ``seen`` how many came; ``taken`` see ``Reservoir``."""

    places: int
    seed: int
    seen: int = 0
    kept: tuple[int, ...] = ()
    taken: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.places >= 1, "places", "be at least 1", self.places)
        full = min(self.seen, self.places)
        require(len(self.kept) == full, "kept", f"name the {full} frames that are kept", len(self.kept))
        within = all(1 <= number <= self.seen for number in self.kept)
        require(within and len({*self.kept}) == full, "kept", f"be different numbers in [1, {self.seen}]", self.kept)

    def read_to(self, source: str, reached: int) -> "ReservoirState":
        """The state once ``source`` was read up to ``reached``."""
        return replace(self, taken={**self.taken, source: max(reached, self.taken.get(source, 0))})

    def with_frame(self, number: int, place: int | None, source: str, offset: int) -> "ReservoirState":
        """The state once the frame ``number`` has taken ``place``."""
        kept = [*self.kept]
        if place is not None:
            kept[place : place + 1] = [number]
        return replace(self, seen=number, kept=tuple(kept), taken={**self.taken, source: offset})
