"""Analyses as an engine's process opens them: their own files in the job's folder, none written by two lives."""

from pathlib import Path

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.lives import claimed_life

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
    analyses = Analyses(job.coupling_config(), folder, life=claimed_life(folder), versions=job.versions())
    names = {topic.stream for topic in job.topics()}
    for stream in names:
        analyses.get(analyses.of_stream(stream))
        if stream in job.variables:
            analyses.warm_up(analyses.of_stream(stream), job.variables[stream])
    return analyses
