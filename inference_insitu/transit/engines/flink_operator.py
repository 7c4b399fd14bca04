"""What Flink runs for a partition: a function of its key that reads the log by itself, woken by timers.

PyFlink has no source that is written in Python and can be replayed. A key for each partition comes once from a file;
then a timer calls every few milliseconds, and the offset lies in the function's state with everything else. Timers and
state are in the same checkpoint. The state is text in base64: PyFlink would pickle bytes, or take them one by one.
"""

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.engines.partition import Partition
from inference_insitu.transit.engines.serving_folder import opened
from inference_insitu.transit.operators.analyses import Analyses

SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS = 1, 5


class AnswerPartition(KeyedProcessFunction):
    """Answers the frames of the job's topic whose number is the key."""

    def __init__(self, job: str) -> None:
        self._path = job

    def open(self, context: RuntimeContext) -> None:
        """Load the analyses, for all partitions here."""
        self._job = TransitJob.read(Path(self._path))
        self._log, self._store = self._job.open_log(), self._job.store()
        self._analyses: Analyses = opened(self._job)
        self._snapshot = context.get_state(ValueStateDescriptor("snapshot", Types.STRING()))
        self._partitions: dict[str, Partition] = {}
        self._pauses: dict[str, int] = {}

    def close(self) -> None:
        """The job ends."""
        self._analyses.close()
        self._log.close()

    def process_element(self, key: Any, context: KeyedProcessFunction.Context) -> None:
        """The partition is there: let the clock call."""
        self._wake(context, 0)

    def on_timer(self, timestamp: int, context: KeyedProcessFunction.OnTimerContext) -> None:
        """Deal with what is new."""
        key = str(context.get_current_key())
        if key not in self._partitions:
            kept = b64decode(self._snapshot.value() or "", validate=True)
            topic = self._job.topics()[int(key)]
            self._partitions[key] = Partition(self._job, topic, self._log, self._analyses, self._store, kept)
        partition = self._partitions[key]
        busy = partition.advance()
        if partition.snapshot_due:
            self._snapshot.update(b64encode(partition.snapshot()).decode())
            partition.kept()
        pause = SHORTEST_PAUSE_MS if busy else min(2 * self._pauses.get(key, 1), LONGEST_PAUSE_MS)
        self._pauses[key] = pause
        self._wake(context, pause)

    def _wake(self, context: Any, pause: int) -> None:
        service = context.timer_service()
        service.register_processing_time_timer(service.current_processing_time() + pause)
