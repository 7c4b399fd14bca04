"""Analyses as an engine's process opens them: their own files in the job's folder, none written by two lives."""

import os
from pathlib import Path

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.operators.analyses import Analyses

ANSWERED = "answered"
"""Folder in the job's own for files that analyses write themselves: volumes, lines."""


def opened(job: TransitJob) -> Analyses:
    """The analyses of ``job``, loaded and warm.

    Raises
    ------
    ValueError, RunError
        If one cannot be loaded.
    """
    folder = Path(job.folder) / ANSWERED
    folder.mkdir(parents=True, exist_ok=True)
    analyses = Analyses(job.coupling_config(), folder, life=_life(folder))
    names = {topic.stream for topic in job.topics()}
    for stream in names:
        analyses.get(analyses.of_stream(stream))
        if stream in job.variables:
            analyses.warm_up(analyses.of_stream(stream), job.variables[stream])
    return analyses


def _life(folder: Path) -> int:
    """A number that no other process or task has taken or will take."""
    life = 0
    while True:
        try:
            os.close(os.open(folder / f"life-{life}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            life += 1
        else:
            return life
