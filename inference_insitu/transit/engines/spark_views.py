"""Views on Spark: the same SQL over the same files, a query for each view beside the one that answers."""

from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.results import answer_rows
from inference_insitu.transit.results.history import history_folders
from inference_insitu.transit.results.results_table import parts
from inference_insitu.transit.results.rows import COLUMNS, INTEGER, REAL, TEXT
from inference_insitu.transit.results.views import HISTORY, View, ViewRows, read_views

_TYPES = {INTEGER: "BIGINT", REAL: "DOUBLE", TEXT: "STRING"}
SCHEMA = ", ".join(f"`{name}` {_TYPES[kind]}" for name, kind in COLUMNS.items())


def view_writers(spark: SparkSession, job: TransitJob, checkpoints: Path) -> list[Any]:
    """The queries of the job's views, to be started."""
    folder = Path(job.folder).resolve()
    rows = folder / answer_rows.FOLDER
    rows.mkdir(parents=True, exist_ok=True)
    spark.readStream.schema(SCHEMA).json(str(rows)).createOrReplaceTempView("answers")
    _history(spark, job).createOrReplaceTempView("history")
    writers = []
    for view in read_views(job.views):
        found = spark.sql(view.sql)
        if view.kind == HISTORY:
            found = found.cache()
        found.createOrReplaceTempView(view.name)
        if view.kind != HISTORY:
            writer = found.writeStream.outputMode("update").foreachBatch(partial(_take, job, view))
            writers.append(writer.option("checkpointLocation", str(checkpoints / view.name)))
    return writers


def _history(spark: SparkSession, job: TransitJob) -> Any:
    files = [str(part.path) for folder in history_folders(job.history) for part in parts(folder)]
    return spark.read.schema(SCHEMA).parquet(*files) if files else spark.createDataFrame([], SCHEMA)


def _take(job: TransitJob, view: View, found: Any, batch: int) -> None:
    """The rows of one micro-batch; the same batch may come again after a death, and its alerts are kept once."""
    log = job.open_log()
    ViewRows(view, Path(job.folder), log).take([row.asDict() for row in found.collect()])
    log.close()
