"""The log as a source of Spark: what is new is told by offsets alone; whoever answers reads the records by himself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.log.stream_log import StreamLog, Topic

NAME = "cdi_log"


class News(InputPartition):
    """Records of topic number ``topic`` up to offset ``last`` are there."""

    def __init__(self, topic: int, last: int) -> None:
        self.topic, self.last = topic, last


class LogReader(DataSourceStreamReader):
    """Offsets of ``topics`` of ``job``."""

    def __init__(self, job: TransitJob, topics: list[Topic]) -> None:
        self._topics, self._job = topics, job
        self._log: StreamLog | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Spark sends the reader to its workers; a connection stays here."""
        return {**vars(self), "_log": None}

    def initialOffset(self) -> dict[str, int]:  # noqa: N802 (Spark's name)
        """Before everything."""
        return {str(number): 0 for number in range(len(self._topics))}

    def latestOffset(self) -> dict[str, int]:  # noqa: N802
        """The last records."""
        log = self._log = self._log or self._job.open_log()
        return {str(number): log.standing(topic).last for number, topic in enumerate(self._topics)}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> list[News]:
        """The topics with something new."""
        return [News(int(number), last) for number, last in end.items() if last > start.get(number, 0)]

    def read(self, partition: News) -> Iterator[tuple[int, int]]:
        """One row for a topic."""
        yield partition.topic, partition.last


class LogSource(DataSource):
    """``spark.readStream.format("cdi_log").option("job", …)``: columns ``topic`` and ``last``."""

    @classmethod
    def name(cls) -> str:
        """As it is registered."""
        return NAME

    def schema(self) -> str:
        """Number of a topic of the job, and the offset of its last record."""
        return "topic int, last bigint"

    def streamReader(self, schema: Any) -> LogReader:  # noqa: N802
        """A reader of the job's topics."""
        job = TransitJob.read(Path(self.options["job"]))
        return LogReader(job, job.topics())
