"""Spark as the engine, for sites that have it: micro-batches, offsets and state in its checkpoint folder.

One program with a driver and executors in one JVM, on loopback. Spark 4 wants a Java 17 or newer with all its modules.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from inference_insitu.transit.engines.engine import engine_python
from inference_insitu.transit.engines.java import java
from inference_insitu.transit.engines.job import TransitJob

CHECKPOINT = "spark-checkpoint"


class SparkEngine:
    """Implements ``Engine``."""

    name = "spark"

    def command(self, job: TransitJob, restore: Path | None) -> Sequence[str]:
        """As ``Engine``. Spark goes on from the checkpoint folder of its job, whatever stopped it."""
        java()
        own = checkpoint(Path(job.folder))
        if restore is not None and restore.resolve() != own.resolve():
            raise ValueError(f"restore must be {own} for a job of Spark, got {restore}")
        return [str(engine_python(self.name)), "-m", "inference_insitu.transit.engines.spark_job", str(job.path)]

    def environment(self, job: TransitJob) -> Mapping[str, str]:
        """As ``Engine``."""
        python = str(engine_python(self.name))
        return {
            "JAVA_HOME": str(java()),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": python,
            "PYSPARK_DRIVER_PYTHON": python,
            "JAVA_TOOL_OPTIONS": f"{os.environ.get('JAVA_TOOL_OPTIONS', '')} -XX:+UseSerialGC".strip(),
        }


def checkpoint(folder: Path) -> Path:
    """Where the job in ``folder`` has its checkpoint."""
    return folder / CHECKPOINT


def completed(folder: Path) -> int:
    """How many micro-batches of the job in ``folder`` are complete, over all its lives."""
    return _batches(folder, "commits")


def planned(folder: Path) -> int:
    """How many were begun; one more than ``completed`` where the last one was cut."""
    return _batches(folder, "offsets")


def _batches(folder: Path, log: str) -> int:
    names = (path.name for path in checkpoint(folder).glob(f"{log}/*"))
    return max((int(name) + 1 for name in names if name.isdigit()), default=0)
