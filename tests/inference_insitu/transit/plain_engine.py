"""An engine that needs no environment of its own: the partitions' operators in one process, their snapshots in files.

    python plain_engine.py JOB

What real engines do with an operator, so that what is killed are real processes where no engine is installed.
"""

import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from inference_insitu.transit.engines.durable import Durable
from inference_insitu.transit.engines.engine import RUNNING, STOPPED, EngineStatus
from inference_insitu.transit.engines.engine_program import run_program, standing
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.engines.partition import Partition
from inference_insitu.transit.engines.serving_folder import opened

LOOK_S = 0.05


class PlainEngine:
    """Implements ``Engine``."""

    name = "plain"

    def command(self, job, restore):
        return [sys.executable, __file__, str(job.path)]

    def environment(self, job):
        return {}


class Kept:
    """A partition whose snapshots lie in a file."""

    def __init__(self, job, topic, log, analyses):
        folder = Path(job.folder) / "snapshots"
        folder.mkdir(exist_ok=True)
        self._path = folder / quote(topic.name, safe="")
        before = self._path.read_bytes() if self._path.exists() else b""
        self.partition = Partition(job, topic, log, analyses, job.store(), before)

    def keep(self):
        partial = self._path.with_suffix(".partial")
        partial.write_bytes(self.partition.snapshot())
        partial.rename(self._path)
        self.partition.kept()


def run(job: TransitJob, restore: str, stop: threading.Event) -> EngineStatus:
    checkpoints, looked_s = 0, 0.0
    analyses = opened(job)
    with closing(job.open_log()) as log:
        kept = [Kept(job, topic, log, analyses) for topic in job.topics()]
        durable = Durable(job, log, job.store(), lambda: checkpoints)
        while not stop.is_set():
            busy = sum([one.partition.advance() for one in kept])
            for one in kept:
                if one.partition.snapshot_due:
                    one.keep()
            if time.monotonic() - looked_s > LOOK_S:
                looked_s, checkpoints = time.monotonic(), checkpoints + 1
                durable.look()
                standing(job, log, durable, RUNNING)
            if not busy:
                time.sleep(0.002)
        for one in kept:
            one.keep()
        durable.finish()
        return standing(job, log, durable, STOPPED)


if __name__ == "__main__":
    run_program(run, *sys.argv[1:])
