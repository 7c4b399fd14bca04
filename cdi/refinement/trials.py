"""Hypotheses fitted from one start, each set of lines once, and the best of them found by asking on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdi.refinement.crystal_model import CrystalModel, ModelLine, Modes
from cdi.refinement.fit import Fitted, fit
from cdi.refinement.hypotheses import Difference, LineSet, Windings, alternatives, line_set
from cdi.refinement.likelihood import Likelihood
from cdi.refinement.object_model import Box
from cdi.refinement.start import StartObject

LEAST_TO_FOLLOW = 1
"""After any hypothesis: the free object."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What every fit from one start shares.

    Raises
    ------
    ValueError
        By ``of``: as ``Box.around``.
    """

    start: StartObject
    box: Box
    modes: Modes

    @classmethod
    def of(cls, start: StartObject, shape: tuple[int, int, int], order: float) -> "Ground":
        """Of patterns of ``shape``, with smooth modes up to ``order``."""
        box = Box.around(start.support, shape)
        return cls(start, box, Modes.on(box, order))

    def model(self, lines: tuple[ModelLine, ...]) -> CrystalModel:
        """A crystal with ``lines``, as near to the start as it can be."""
        return CrystalModel(self.box, self.modes, lines, self.box.cut(self.start.density))


@dataclass(frozen=True, eq=False)
class Trial:
    """Lines, and the fit of a crystal with them; ``model`` is left as fitted."""

    lines: tuple[ModelLine, ...]
    model: CrystalModel
    fitted: Fitted


class Trials:
    """All hypotheses that are fitted from one start."""

    def __init__(
        self,
        ground: Ground,
        likelihood: Likelihood,
        iterations: int,
        begin: Callable[[str, int], None] = lambda name, more: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.ground, self.likelihood, self.iterations = ground, likelihood, iterations
        self.begin, self.stop = begin, stop
        self._made: dict[LineSet, Trial] = {}

    @property
    def every(self) -> tuple[Trial, ...]:
        """Those made so far."""
        return tuple(self._made.values())

    def of(self, lines: tuple[ModelLine, ...], more: int = 0) -> Trial:
        """The fit with ``lines``; ``more`` fits are to follow."""
        key = line_set(lines)
        if key not in self._made:
            self.begin(f"{self.ground.start.name}: {len(lines)} line{'' if len(lines) == 1 else 's'}", more)
            model = self.ground.model(lines)
            self._made[key] = Trial(lines, model, fit(model, self.likelihood, self.iterations, stop=self.stop))
        return self._made[key]

    def asked(self, lines: tuple[ModelLine, ...], more: int = 0) -> Trial | None:
        """As ``of``; None where the work was ended before this fit was: one that is not whole must not be judged."""
        key = line_set(lines)
        if key not in self._made:
            if self.stop():
                return None
            self.of(lines, more)
            if self.stop():
                del self._made[key]
        return self._made.get(key)

    def grown(self, trial: Trial, candidates: Sequence[ModelLine]) -> Trial:
        """``trial`` with each of ``candidates`` without which the held-out voxels reject the crystal."""
        for n, line in enumerate(candidates, 1):
            larger = self.asked((*trial.lines, line), len(candidates) - n + LEAST_TO_FOLLOW)
            if larger is not None and Difference.between(trial.fitted.free, larger.fitted.free).rejects:
                trial = larger
        return trial

    def questioned(self, trial: Trial, windings: Sequence[Windings], most: int) -> Trial:
        """The first of ``trial`` and its better and better alternatives that has no better one.

        No alternative has more lines, so that less free deviance is enough for it; each answer has less than the one
        before, so that this ends.
        """
        while True:
            others = list(alternatives(trial.lines, windings, most))
            found = [self.asked(lines, len(others) - n + LEAST_TO_FOLLOW) for n, lines in enumerate(others, 1)]
            asked = [each for each in found if each is not None]
            best = min((trial, *asked), key=lambda each: each.fitted.free_deviance)
            if best is trial:
                return trial
            trial = best
