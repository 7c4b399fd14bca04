"""The program that runs in Spark's environment: ``python -m inference_insitu.transit.engines.spark_job JOB``."""

import secrets
import sys
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from inference_insitu.transit.engines import spark_engine
from inference_insitu.transit.engines.durable import Durable
from inference_insitu.transit.engines.engine import RUNNING, STARTING, STOPPED, EngineStatus
from inference_insitu.transit.engines.engine_program import run_program, standing
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.engines.spark_operator import ROWS, STATE, answer_partition
from inference_insitu.transit.engines.spark_query import Query, patiently
from inference_insitu.transit.engines.spark_source import NAME, LogSource
from inference_insitu.transit.engines.spark_views import view_writers

LOOK_S = 0.1
QUIET_TIMEOUT_S = 30.0
_LOOPBACK = "127.0.0.1"


def run(job: TransitJob, restore: str, stop: threading.Event) -> EngineStatus:
    """Answer the job's frames until ``stop``; how it stands then."""
    folder = Path(job.folder)
    spark = _session(job)
    query = Query(_writer(spark, job).start)
    views = []
    if job.views:
        writers = view_writers(spark, job, spark_engine.checkpoint(folder.resolve()).with_name("spark-views"))
        views = [Query(writer.start) for writer in writers]
    with closing(job.open_log()) as log:
        durable = Durable(job, log, job.store(), lambda: spark_engine.completed(folder))
        while not stop.wait(LOOK_S):
            for one in (query, *views):
                one.look()
            durable.look()
            standing(job, log, durable, RUNNING if query.running.lastProgress is not None else STARTING)
        _stop(query.running)
        # The state after a batch that was cut is the one before: what that needs must stay in the log.
        durable.finish(holds_all=spark_engine.planned(folder) == spark_engine.completed(folder))
        for one in views:
            one.running.processAllAvailable()
            one.running.stop()
        return standing(job, log, durable, STOPPED, str(spark_engine.checkpoint(folder)))


def _session(job: TransitJob) -> SparkSession:
    told = {
        "spark.driver.host": _LOOPBACK,
        "spark.driver.bindAddress": _LOOPBACK,
        "spark.authenticate": "true",
        "spark.authenticate.secret": secrets.token_urlsafe(32),
        "spark.ui.enabled": "false",
        "spark.python.authenticate.socketTimeout": "300s",  # of a worker on a machine that has other work too
        "spark.driver.memory": "1g",
        "spark.sql.shuffle.partitions": str(job.parallelism),
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.streaming.metricsEnabled": "false",
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        "spark.sql.warehouse.dir": str(Path(job.folder).resolve() / "spark-warehouse"),
    }
    builder = SparkSession.builder.master(f"local[{job.parallelism}]").appName(f"cdi {job.run}")
    for name, value in told.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("WARN")
    session.dataSource.register(LogSource)
    return session


def _writer(spark: SparkSession, job: TransitJob) -> Any:
    """The query that answers, to be started."""
    news = patiently(spark.readStream.format(NAME).option("job", str(job.path)).load)
    answer = partial(answer_partition, str(job.path))
    answered = news.groupBy("topic").applyInPandasWithState(answer, ROWS, STATE, "append", "NoTimeout")
    where = str(spark_engine.checkpoint(Path(job.folder)).resolve())
    writer = answered.writeStream.format("noop").option("checkpointLocation", where)
    return writer.trigger(processingTime="0 seconds")


def _stop(query: Any) -> None:
    """Stop between two micro-batches if there is such a moment; what is cut is done again."""
    end_s = time.monotonic() + QUIET_TIMEOUT_S
    while query.status["isTriggerActive"] and time.monotonic() < end_s:
        time.sleep(0.01)
    query.stop()


if __name__ == "__main__":
    run_program(run, *sys.argv[1:])
