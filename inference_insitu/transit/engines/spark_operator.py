"""What Spark runs for a partition in a micro-batch: go on from the state as far as the batch says, and give it back.

A worker process of Spark serves many batches; what is dear (analyses, connection) is kept between them.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.engines.partition import Partition
from inference_insitu.transit.engines.serving_folder import opened
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.stream_log import StreamLog
from inference_insitu.transit.operators.analyses import Analyses

STATE = "snapshot binary"
ROWS = "topic int, offset bigint"


@lru_cache(maxsize=1)
def _here(path: str) -> tuple[TransitJob, StreamLog, PayloadStore, Analyses]:
    job = TransitJob.read(Path(path))
    return job, job.open_log(), job.store(), opened(job)


def answer_partition(path: str, key: tuple[int], news: Iterator[Any], state: Any) -> Iterator[Any]:
    """Answer what is new in topic ``key`` of the job at ``path``; one row that says up to where."""
    import pandas

    last = max(int(frame["last"].max()) for frame in news)
    job, log, store, analyses = _here(path)
    kept = bytes(state.get[0]) if state.exists else b""
    partition = Partition(job, job.topics()[int(key[0])], log, analyses, store, kept)
    while partition.offset < last and partition.advance(through=last):
        pass
    state.update((partition.snapshot(),))
    partition.kept()
    yield pandas.DataFrame({"topic": [int(key[0])], "offset": [partition.offset]})
