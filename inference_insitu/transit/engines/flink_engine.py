"""Flink as the engine: records one by one within milliseconds, offsets and state in its checkpoints.

One program: PyFlink starts a JVM with a small cluster of its own in it, on loopback. Python runs within the JVM
(``python.execution-mode: thread``): PyFlink's other mode listens on every interface, without a password.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from inference_insitu.transit.engines.engine import engine_python
from inference_insitu.transit.engines.java import java
from inference_insitu.transit.engines.job import TransitJob

CHECKPOINTS, SAVEPOINTS = "checkpoints", "savepoints"


class FlinkEngine:
    """Implements ``Engine``."""

    name = "flink"

    def command(self, job: TransitJob, restore: Path | None) -> Sequence[str]:
        """As ``Engine``."""
        java()
        from_where = restore or latest(Path(job.folder))
        program = [str(engine_python(self.name)), "-m", "inference_insitu.transit.engines.flink_job", str(job.path)]
        return program if from_where is None else [*program, str(from_where)]

    def environment(self, job: TransitJob) -> Mapping[str, str]:
        """As ``Engine``: a JVM that starts soon rather than computes fast, for it only carries."""
        options = os.environ.get("JAVA_TOOL_OPTIONS", "")
        return {
            "JAVA_HOME": str(java()),
            "JAVA_TOOL_OPTIONS": f"{options} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx1g".strip(),
            # Else it starts a server for that other mode, of no use here.
            "_python_worker_execution_mode": "process",
            "FLINK_LOG_DIR": str(Path(job.folder) / "flink-log"),
        }


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint or savepoint of the job in ``folder``; None for none."""
    found = [*folder.glob(f"{CHECKPOINTS}/*/chk-*/_metadata"), *folder.glob(f"{SAVEPOINTS}/*/_metadata")]
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent if found else None


def completed(folder: Path) -> int:
    """Number of the newest complete checkpoint of the job in ``folder``, over all its lives."""
    numbers = [int(path.parent.name.partition("-")[2]) for path in folder.glob(f"{CHECKPOINTS}/*/chk-*/_metadata")]
    return max(numbers, default=0)
