"""Asking a running coupling to move, and waiting for what becomes of it."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cdi.config import read_config
from cdi.errors import RunError
from cdi.requirements import nearest
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.transit.engines.job import NAME, TransitJob
from inference_insitu.transit.log.records import Move, Said
from inference_insitu.transit.migration.moves import Moves
from inference_insitu.transit.migration.moving_worker import FOLDER
from inference_insitu.transit.migration.protocol import Ended, Refused, Site


class BusyError(RunError):
    """A request that is refused because another one is under way: asked again, it may be followed."""


def migrate(output: Path, to: str, *, timeout_s: float, say: Callable[[str], None] = lambda line: None) -> Ended:
    """Have the frames of the run in ``output`` answered ``to`` a site; how that ended.

    Raises
    ------
    ValueError
        If there is no such site, or the run has no log (``cdi insitu transit``).
    RunError
        If the request is refused (``BusyError`` while another is under way), the migration is aborted, or takes
        longer than ``timeout_s``; it may end yet.
    LogAway
        If the log does not answer.
    """
    if to not in tuple(Site):
        raise ValueError(f"the site must be one of {', '.join(Site)}, got {to!r}")
    job = job_of(output)
    return _asked(job, Move(job.run, Said.REQUEST, to=to, why="asked for"), f"migration to {to}", timeout_s, say)


def take_over(
    output: Path, analysis: str, version: int, *, timeout_s: float, say: Callable[[str], None] = lambda line: None
) -> Ended:
    """Have ``version`` of ``analysis`` answer the frames of the run in ``output``; how that ended.

    Raises
    ------
    ValueError
        If there is no such analysis or version, or the run has no log.
    RunError, LogAway
        As ``migrate``.
    """
    job = job_of(output)
    analyses = job.coupling_config().analyses
    if analysis not in analyses:
        raise ValueError(f"analysis must be one of the run's, got {analysis!r}; {nearest(analysis, analyses)}")
    if version:
        job.versions().read(analysis, version).over({})
    move = Move(job.run, Said.REQUEST, analysis=analysis, number=version, why="asked for")
    return _asked(job, move, f"takeover by version {version} of {analysis}", timeout_s, say)


def job_of(output: Path) -> TransitJob:
    """What the engine of the run in ``output`` was told.

    Raises
    ------
    ValueError
        If the run has no log.
    """
    path = output / FOLDER / NAME
    if not path.exists():
        raise ValueError(f"{output} must be a run with a log, got none; start one with: cdi insitu transit {output}")
    return TransitJob.read(path)


def _asked(job: TransitJob, move: Move, what: str, timeout_s: float, say: Callable[[str], None]) -> Ended:
    margin = read_config(CouplingConfig, job.coupling).migration.margin
    with closing(job.open_log()) as log:
        moves = Moves(log, job.run, margin=margin)
        while moves.poll():
            pass
        moves.ended.clear()
        asked = moves.say(move)
        end_s, told = time.monotonic() + timeout_s, ""
        while time.monotonic() < end_s:
            moves.poll(wait_s=0.1)
            for ended in moves.ended:
                if ended.id == asked:
                    return _outcome(ended, what)
            migration = moves.agreement.migration
            if migration is not None and migration.id == asked:
                line = f"ready: {len(migration.ready)} of {len(moves.agreement.taking_part)} workers"
                if moves.agreement.cut is not None:
                    line = f"cut at step {moves.agreement.cut}; installed: {len(migration.installed)} workers"
                if line != told:
                    told = line
                    say(line)
    raise RunError(f"the {what} has not ended within {timeout_s:g} s; it may yet")


def _outcome(ended: Ended | Refused, what: str) -> Ended:
    if isinstance(ended, Refused):
        raise (BusyError if ended.busy else RunError)(f"the request is refused: {ended.why}")
    if not ended.committed:
        raise RunError(f"the {what} is aborted: {ended.why}")
    return ended
