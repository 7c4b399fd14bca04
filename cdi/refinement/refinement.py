"""A crystal refined: starts fitted, the best of them questioned, and a free object from where it ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cdi.pattern import Exposure
from cdi.refinement.config import RefinementConfig
from cdi.refinement.crystal_model import ModelLine
from cdi.refinement.ensemble import ensemble_errors
from cdi.refinement.faceted_outline import FacetedOutline, faceted_outline
from cdi.refinement.fit import Fitted, fit
from cdi.refinement.hypotheses import Difference, Hypothesis, Windings, hypothesis_name, new_lines, without
from cdi.refinement.likelihood import Likelihood, Observed
from cdi.refinement.line_phase import Track
from cdi.refinement.object_model import FreeObject
from cdi.refinement.start import StartObject, wound_lines
from cdi.refinement.trials import LEAST_TO_FOLLOW, Ground, Trial, Trials
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
    without : what the fit without it loses; None where that was not asked any more.
    """

    corners: Tensor
    closed: bool
    windings: Windings
    error: float
    without: Difference | None


@dataclass(frozen=True, eq=False)
class Refinement:
    """What became of a crystal.

    Parameters
    ----------
    support : (x, y, z) bool
    object_kind : "crystal" or "free": the model that says most of the held-out voxels.
    object_fit : its fit, whose density is the answer.
    lines : those of the best hypothesis.
    starts : name and free deviance of each start's fit, the best first.
    judged : every hypothesis: the best, and then by their free deviance.
    whole : False where the work was ended before every question was asked.
    outline : flat faces of the best crystal; None where they were not asked for, or too few show.
    """

    support: Tensor
    object_kind: str
    object_fit: Fitted
    lines: tuple[RefinedLine, ...]
    starts: tuple[tuple[str, float], ...]
    judged: tuple[Judged, ...]
    whole: bool = True
    outline: FacetedOutline | None = None

    @property
    def best(self) -> Judged:
        """The hypothesis whose ``lines`` are told.

        None with as many lines or fewer has less free deviance; one with more may, where the best is not rejected
        for it.
        """
        return self.judged[0]

    @property
    def no_line(self) -> Judged | None:
        """The best one without any line; None where that was not asked any more."""
        return next((each for each in self.judged if not each.hypothesis.lines), None)

    @property
    def defect_probability(self) -> float:
        """That a crystal with a line is nearer to the truth than the best one without; NaN where none was fitted."""
        with_lines = [each for each in self.judged if each.hypothesis.lines]
        if not with_lines:
            return 0.0 if self.whole else float("nan")
        if self.no_line is None:
            return float("nan")
        return Difference.between(self.no_line.fitted.free, with_lines[0].fitted.free).probability


def refine(
    exposures: Sequence[Exposure],
    starts: Sequence[StartObject],
    config: RefinementConfig | None = None,
    *,
    generator: torch.Generator,
    windings: Sequence[Windings] = (),
    voxel: ArrayLike | None = None,
    device: torch.device | str = "cpu",
    begin: Callable[[str, int], None] = lambda name, more: None,
    stop: Callable[[], bool] = lambda: False,
) -> Refinement:
    """Refine a crystal whose reflections are ``exposures``, from ``starts`` on.

    Parameters
    ----------
    generator : of the held-out voxels, and then of an ensemble. A retrieval that held out as large a share by an equal
        generator has not seen these voxels either.
    windings : those that the lattice's Burgers vectors may have in these reflections.
    voxel : (3, 3) in Å, row i along axis i, for the outline; None: its lengths are in voxels.
    device : on which the fits run; what comes back is in the host's memory.
    begin : told what is fitted next, and how many fits will follow it as far as is known.
    stop : asked again and again; once True, what has been fitted is the answer, questions left open (``whole``).

    Raises
    ------
    ValueError
        For patterns that cannot be fitted, no start, or none that fills at most half of the array: others are left out.
    """
    chosen = config or RefinementConfig()
    if not starts:
        raise ValueError("starts must hold at least one object, got none")
    observed = Observed.of(exposures, chosen.free_fraction, generator).to(device)
    refining = _Refining(Likelihood(observed), chosen, generator, voxel, begin, stop)
    return refining.run([start.to(device) for start in starts], windings)


@dataclass(frozen=True, eq=False)
class _Begun(Ground):
    """A start with what its own fit gave."""

    trials: Trials
    trial: Trial


@dataclass(frozen=True, eq=False)
class _Refining:
    likelihood: Likelihood
    config: RefinementConfig
    generator: torch.Generator
    voxel: ArrayLike | None
    begin: Callable[[str, int], None]
    stop: Callable[[], bool]

    def run(self, starts: Sequence[StartObject], windings: Sequence[Windings]) -> Refinement:
        begun = sorted(self._begun(starts), key=lambda each: each.trial.fitted.free_deviance)
        best, others = begun[0], begun[1:]
        candidates = [*best.start.lines, *(line for other in others for line in _lines_in_frame(other, best))]
        more = new_lines(candidates, best.trial.lines)[: self.config.extra_lines]
        answer = best.trials.grown(best.trial, more)
        answer = best.trials.questioned(answer, windings, self.config.windings)
        kind, object_fit = self._object(best, answer.fitted)
        lines = self._lines(best, answer)
        return Refinement(
            best.start.support.cpu(), kind, object_fit.cpu(), lines,
            tuple((each.start.name, each.trial.fitted.free_deviance) for each in begun),
            _judged(best.trials.every, answer, others), not self.stop(), self._outline(best, answer.fitted),
        )  # fmt: skip

    def _begun(self, starts: Sequence[StartObject]) -> list[_Begun]:
        """Those that can be fitted; the first refusal where none can."""
        found: list[_Begun] = []
        refusals: list[ValueError] = []
        for n, start in enumerate(starts, 1):
            if found and self.stop():
                break
            try:
                found.append(self._begin(start, len(starts) - n + LEAST_TO_FOLLOW))
            except ValueError as error:
                refusals.append(error)
        if not found:
            raise refusals[0]
        return found

    def _begin(self, start: StartObject, more: int) -> _Begun:
        ground = Ground.of(start, self.likelihood.observed.shape, self.config.order)
        trials = Trials(ground, self.likelihood, self.config.iterations, self.begin, self.stop)
        trial = trials.of(wound_lines(start.density, start.support), more)
        return _Begun(ground.start, ground.box, ground.modes, trials, trial)

    def _object(self, begun: _Begun, fitted: Fitted) -> tuple[str, Fitted]:
        """The crystal's fit, or a free object's from there on, whichever says more of the held-out voxels."""
        if self.stop():
            return "crystal", fitted
        self.begin("free object", 0)
        model = FreeObject(begun.box, begun.box.cut(fitted.density))
        free = fit(model, self.likelihood, self.config.free_iterations, fitted.widths, self.stop)
        return min((("crystal", fitted), ("free", free)), key=lambda pair: pair[1].free_deviance)

    def _outline(self, begun: _Begun, fitted: Fitted) -> FacetedOutline | None:
        if not self.config.outline or self.stop():
            return None
        self.begin("faces", 0)
        try:
            # Few numbers, and much in between that the host computes.
            told = Likelihood(self.likelihood.observed.to("cpu"))
            return faceted_outline(fitted.cpu(), begun.start.support.cpu(), told, self.config.iterations, self.voxel)
        except ValueError:  # too few faces show
            return None

    def _lines(self, begun: _Begun, answer: Trial) -> tuple[RefinedLine, ...]:
        lines, fitted = answer.lines, answer.fitted
        errors = [float("nan")] * len(lines)
        if self.config.ensemble and not self.stop():
            self.begin("ensemble", 0)
            errors = ensemble_errors(
                begun, answer, self.likelihood, self.config.ensemble, self.config.iterations, self.generator
            )
        elif self.config.uncertainty and not self.stop():
            errors = line_errors(answer.model, self.likelihood, fitted.widths, fitted.deviance)
        return tuple(
            RefinedLine(
                track.corners.detach().cpu(), track.closed, line.windings, error,
                self._without(begun, answer, n),
            )
            for n, (line, track, error) in enumerate(zip(lines, answer.model.tracks(), errors, strict=True))
        )  # fmt: skip

    def _without(self, begun: _Begun, answer: Trial, number: int) -> Difference | None:
        less = begun.trials.asked(without(answer.lines, number), len(answer.lines) - number - 1)
        return None if less is None else Difference.between(less.fitted.free, answer.fitted.free)


def _judged(trials: Sequence[Trial], answer: Trial, others: Sequence[_Begun]) -> tuple[Judged, ...]:
    """All hypotheses beside the ``answer``, which comes first; a crystal without a line of each other start too."""
    told = [(hypothesis_name(trial.lines, answer.lines), trial) for trial in trials]
    told += [(f"none, from {other.start.name}", other.trial) for other in others if not other.trial.lines]
    order = sorted(told, key=lambda pair: (pair[1] is not answer, pair[1].fitted.free_deviance))
    return tuple(
        Judged(
            Hypothesis(name, trial.lines), trial.fitted.cpu(), Difference.between(trial.fitted.free, answer.fitted.free)
        )
        for name, trial in order
    )


def _lines_in_frame(other: _Begun, best: _Begun) -> list[ModelLine]:
    """Lines of another start where they lie in the best one: it may be its twin, and elsewhere."""
    moved, how = align(other.start.density, best.start.density)
    lines = list(wound_lines(moved, best.start.support)) if other.trial.lines else []
    for line in other.start.lines:
        corners = line.track.corners
        if how.inverted:
            # The twin of a line through r with (b, ξ) goes through −r with (−b, ξ): corners run the other way.
            corners = -corners.flip(0)
        windings = tuple(-m for m in line.windings) if how.inverted else line.windings
        track = Track(corners + torch.tensor(how.shift, dtype=corners.dtype), line.track.closed)
        lines.append(ModelLine(track, windings))
    return lines
