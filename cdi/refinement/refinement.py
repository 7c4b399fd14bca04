"""A crystal refined: starts fitted, the best of them questioned, and a free object from where it ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cdi.pattern import Exposure
from cdi.refinement.config import RefinementConfig
from cdi.refinement.crystal_model import CrystalModel, ModelLine, Modes
from cdi.refinement.fit import FitSettings, Fitted, fit
from cdi.refinement.hypotheses import Difference, Hypothesis, Windings, alternatives, new_lines
from cdi.refinement.likelihood import Likelihood, Observed
from cdi.refinement.line_phase import Track
from cdi.refinement.object_model import Box, FreeObject
from cdi.refinement.start import StartObject, wound_lines
from cdi.refinement.uncertainty import line_errors
from cdi.retrieval.alignment import align


@dataclass(frozen=True, eq=False)
class Judged:
    """A hypothesis after its fit, with the difference to the best one."""

    hypothesis: Hypothesis
    fitted: Fitted
    difference: Difference = field(default_factory=lambda: Difference(0.0, 0.0))


@dataclass(frozen=True, eq=False)
class RefinedLine:
    """A line of the best hypothesis.

    Parameters
    ----------
    corners : (n, 3) in voxel numbers from ``N // 2``.
    closed : bool
    windings : one a reflection, in the sense of the corners.
    error : standard error of the corners in voxels; NaN where it was not asked for.
    without : what the fit without it loses.
    """

    corners: Tensor
    closed: bool
    windings: Windings
    error: float
    without: Difference


@dataclass(frozen=True, eq=False)
class Refinement:
    """What became of a crystal.

    Parameters
    ----------
    density : (reflections, x, y, z) complex, of the model that says most of the held-out voxels, ``object_kind``.
    support : (x, y, z) bool
    lines : those of the best hypothesis.
    starts : name and free deviance of each start's fit, the best first.
    judged : every hypothesis, the best first.
    free_object : the free object's fit.
    object_deviance : per held-out voxel, of the model whose ``density`` it is.
    """

    density: Tensor
    support: Tensor
    object_kind: str
    object_deviance: float
    lines: tuple[RefinedLine, ...]
    starts: tuple[tuple[str, float], ...]
    judged: tuple[Judged, ...]
    free_object: Fitted

    @property
    def best(self) -> Judged:
        """The hypothesis of least free deviance."""
        return self.judged[0]

    @property
    def no_line(self) -> Judged:
        """The best one without any line."""
        return next(each for each in self.judged if not each.hypothesis.lines)

    @property
    def defect_probability(self) -> float:
        """That a crystal with a line is nearer to the truth than the best one without."""
        with_lines = [each for each in self.judged if each.hypothesis.lines]
        if not with_lines:
            return 0.0
        return Difference.between(self.no_line.fitted.free, with_lines[0].fitted.free).probability


def refine(
    exposures: Sequence[Exposure],
    starts: Sequence[StartObject],
    config: RefinementConfig | None = None,
    *,
    generator: torch.Generator,
    windings: Sequence[Windings] = (),
    report: Callable[[str], None] = lambda text: None,
) -> Refinement:
    """Refine a crystal whose reflections are ``exposures``, from ``starts`` on.

    Parameters
    ----------
    generator : of the held-out voxels. A retrieval that held out as large a share by an equal generator has not seen
        them either.
    windings : those that the lattice's Burgers vectors may have in these reflections.
    report : told what is fitted.

    Raises
    ------
    ValueError
        For patterns that cannot be fitted, no start, or none that fills at most half of the array: others are left out.
    """
    chosen = config or RefinementConfig()
    if not starts:
        raise ValueError("starts must hold at least one object, got none")
    observed = Observed.of(exposures, chosen.free_fraction, generator)
    return _Refining(Likelihood(observed), chosen, report).run(starts, windings)


@dataclass(frozen=True, eq=False)
class _Begun:
    """A start with what its own fit gave."""

    start: StartObject
    box: Box
    modes: Modes
    lines: tuple[ModelLine, ...]
    model: CrystalModel
    fitted: Fitted


@dataclass(frozen=True, eq=False)
class _Refining:
    likelihood: Likelihood
    config: RefinementConfig
    report: Callable[[str], None]

    def run(self, starts: Sequence[StartObject], windings: Sequence[Windings]) -> Refinement:
        begun = sorted(self._begun(starts), key=lambda each: each.fitted.free_deviance)
        best, others = begun[0], begun[1:]
        model, fitted, lines, tried = self._with_more(best, others)
        judged = [Judged(Hypothesis("lines" if lines else "none", lines), fitted), *tried]
        for hypothesis in alternatives(lines, windings, self.config.windings):
            judged.append(Judged(hypothesis, self._fit(best, hypothesis.lines)[1]))
        judged += [
            Judged(Hypothesis(f"none, from {each.start.name}", ()), each.fitted) for each in others if not each.lines
        ]
        judged = _ranked(judged)
        self.report("free object")
        free = fit(
            FreeObject(best.box, best.box.cut(fitted.density)), self.likelihood,
            FitSettings(self.config.free_iterations), fitted.widths,
        )  # fmt: skip
        kind, winner = min((("crystal", fitted), ("free", free)), key=lambda pair: pair[1].free_deviance)
        return Refinement(
            winner.density, best.start.support, kind, winner.free_deviance, self._lines(model, fitted, lines, judged),
            tuple((each.start.name, each.fitted.free_deviance) for each in begun), tuple(judged), free,
        )  # fmt: skip

    def _begun(self, starts: Sequence[StartObject]) -> list[_Begun]:
        """Those that can be fitted; the first refusal where none can."""
        found: list[_Begun] = []
        refusals: list[ValueError] = []
        for start in starts:
            try:
                found.append(self._begin(start))
            except ValueError as error:
                refusals.append(error)
                self.report(f"{start.name}: {error}")
        if not found:
            raise refusals[0]
        return found

    def _begin(self, start: StartObject) -> _Begun:
        self.report(start.name)
        box = Box.around(start.support, self.likelihood.observed.shape)
        modes = Modes.on(box, self.config.order)
        lines = wound_lines(start.density, start.support)
        empty = _Begun(start, box, modes, lines, None, None)  # type: ignore[arg-type]
        model, fitted = self._fit(empty, lines)
        return _Begun(start, box, modes, lines, model, fitted)

    def _fit(self, begun: _Begun, lines: tuple[ModelLine, ...]) -> tuple[CrystalModel, Fitted]:
        model = CrystalModel(begun.box, begun.modes, lines, begun.box.cut(begun.start.density))
        return model, fit(model, self.likelihood, FitSettings(self.config.iterations))

    def _with_more(
        self, best: _Begun, others: Sequence[_Begun]
    ) -> tuple[CrystalModel, Fitted, tuple[ModelLine, ...], list[Judged]]:
        """The best start with such lines of the others as the held-out voxels ask for; the fits that did not win."""
        model, fitted, lines = best.model, best.fitted, best.lines
        tried: list[Judged] = []
        candidates = list(best.start.lines)
        for other in others:
            candidates += _lines_in_frame(other, best)
        for number, line in enumerate(new_lines(candidates, lines)[: self.config.extra_lines]):
            self.report(f"one line more, {number + 1}")
            more = (*lines, line)
            its_model, its_fit = self._fit(best, more)
            if Difference.between(fitted.free, its_fit.free).rejects:
                tried.append(Judged(Hypothesis(f"without line {len(more)}", lines, len(more) - 1), fitted))
                model, fitted, lines = its_model, its_fit, more
            else:
                tried.append(Judged(Hypothesis(f"one line more, {number + 1}", more), its_fit))
        return model, fitted, lines, tried

    def _lines(
        self, model: CrystalModel, fitted: Fitted, lines: tuple[ModelLine, ...], judged: Sequence[Judged]
    ) -> tuple[RefinedLine, ...]:
        errors = [float("nan")] * len(lines)
        if self.config.uncertainty:
            errors = line_errors(model, self.likelihood, fitted.widths, fitted.deviance)
        found = []
        for n, (line, track, error) in enumerate(zip(lines, model.tracks(), errors, strict=True)):
            rest = [
                each.fitted for each in judged
                if (len(lines) == 1 and not each.hypothesis.lines)
                or (each.hypothesis.about == n and len(each.hypothesis.lines) == len(lines) - 1)
            ]  # fmt: skip
            without = Difference.between(min(rest, key=lambda f: f.free_deviance).free, fitted.free)
            found.append(RefinedLine(track.corners.detach(), track.closed, line.windings, error, without))
        return tuple(found)


def _ranked(judged: Sequence[Judged]) -> list[Judged]:
    order = sorted(judged, key=lambda each: each.fitted.free_deviance)
    return [
        Judged(each.hypothesis, each.fitted, Difference.between(each.fitted.free, order[0].fitted.free))
        for each in order
    ]  # fmt: skip


def _lines_in_frame(other: _Begun, best: _Begun) -> list[ModelLine]:
    """Lines of another start where they lie in the best one: it may be its twin, and elsewhere."""
    moved, how = align(other.start.density, best.start.density)
    lines = list(wound_lines(moved, best.start.support)) if other.lines else []
    for line in other.start.lines:
        corners = line.track.corners
        if how.inverted:
            # The twin of a line through r with (b, ξ) goes through −r with (−b, ξ): corners run the other way.
            corners = -corners.flip(0)
        windings = tuple(-m for m in line.windings) if how.inverted else line.windings
        track = Track(corners + torch.tensor(how.shift, dtype=corners.dtype), line.track.closed)
        lines.append(ModelLine(track, windings))
    return lines
