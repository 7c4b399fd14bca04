"""The program that runs in Flink's environment: ``python -m inference_insitu.transit.engines.flink_job JOB``."""

import os
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Duration, Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSource, StreamFormat
from pyflink.java_gateway import get_gateway

from inference_insitu.transit.engines.durable import Durable
from inference_insitu.transit.engines.engine import RUNNING, STARTING, STOPPED, EngineStatus
from inference_insitu.transit.engines.engine_program import cause, run_program, standing
from inference_insitu.transit.engines.flink_engine import CHECKPOINTS, SAVEPOINTS, completed
from inference_insitu.transit.engines.flink_operator import AnswerPartition
from inference_insitu.transit.engines.job import TransitJob

LOOK_S = 0.1
KEYS = "partitions"
_LOOPBACK = "127.0.0.1"


def run(job: TransitJob, restore: str, stop: threading.Event) -> EngineStatus:
    """Answer the job's frames until ``stop``, going on from ``restore``; how it stands then."""
    folder = Path(job.folder)
    before = completed(folder)
    client = _started(job, restore)
    with closing(job.open_log()) as log:
        durable = Durable(job, log, job.store(), lambda: completed(folder))
        running = False
        while not stop.wait(LOOK_S):
            _check(client)
            running = running or completed(folder) > before  # every task takes part in a checkpoint
            durable.look()
            standing(job, log, durable, RUNNING if running else STARTING)
        if not running:  # it goes on from where it was to go on now
            client.cancel().result()
            return standing(job, log, durable, STOPPED, restore)
        savepoint = _stop(client, folder)
        durable.finish()
        return standing(job, log, durable, STOPPED, savepoint)


def _started(job: TransitJob, restore: str) -> Any:
    environment = StreamExecutionEnvironment.get_execution_environment(_configuration(job, restore))
    keys = Path(job.folder) / KEYS
    keys.mkdir(exist_ok=True)
    (keys / "topics").write_text("".join(f"{number}\n" for number in range(len(job.topics()))))
    # The folder is watched for ever, so that the job does not end when its keys have been read.
    lines = FileSource.for_record_stream_format(StreamFormat.text_line_format(), str(keys))
    source = lines.monitor_continuously(Duration.of_seconds(60)).build()
    stream = environment.from_source(source, WatermarkStrategy.no_watermarks(), "partitions")
    answered = stream.key_by(lambda line: line, Types.STRING()).process(AnswerPartition(str(job.path)), Types.INT())
    answered.print()
    if job.views:
        from inference_insitu.transit.engines.flink_views import add_views  # the SQL planner takes its time to load

        add_views(environment, job)
    return environment.execute_async(f"cdi {job.run}")


def _configuration(job: TransitJob, restore: str) -> Configuration:
    folder = Path(job.folder).resolve()
    told = {
        "execution.target": "local",
        "parallelism.default": str(job.parallelism),
        "taskmanager.numberOfTaskSlots": str(job.parallelism),
        "python.execution-mode": "thread",
        "python.executable": sys.executable,
        # The interpreter within the JVM knows nothing of this one's environment.
        "python.pythonpath": os.pathsep.join(entry for entry in sys.path if os.path.isdir(entry)),
        "execution.buffer-timeout.interval": "1 ms",
        "execution.checkpointing.interval": f"{round(1000 * job.checkpoint_s)} ms",
        "execution.checkpointing.max-concurrent-checkpoints": "1",
        "execution.checkpointing.dir": (folder / CHECKPOINTS).as_uri(),
        "execution.checkpointing.num-retained": "2",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        # What fails every time is told at once; a broker that is away was waited for already.
        "restart-strategy.type": "none",
        "rest.address": _LOOPBACK,
        "rest.bind-address": _LOOPBACK,
        "rest.port": "0",
        "web.submit.enable": "false",
        "web.cancel.enable": "false",
        "jobmanager.rpc.address": _LOOPBACK,
        "jobmanager.bind-host": _LOOPBACK,
        "taskmanager.host": _LOOPBACK,
        "taskmanager.bind-host": _LOOPBACK,
    }
    if restore:
        told["execution.state-recovery.path"] = Path(restore).resolve().as_uri()
    configuration = Configuration()
    for name, value in told.items():
        configuration.set_string(name, value)
    return configuration


def _check(client: Any) -> None:
    """Raise ``RuntimeError`` where the job has ended by itself."""
    try:
        state = str(client.get_job_status().result())
        if not any(end in state for end in ("FAILED", "CANCELED", "FINISHED")):
            return
        client.get_job_execution_result().result()  # raises what it failed with
    except Exception as error:
        raise RuntimeError(cause(_failure(client) or error)) from error
    raise RuntimeError(f"Flink's job has ended: {state}")


def _failure(client: Any) -> Exception | None:
    """What the job failed with; its cluster, which could be asked how it stands, is gone then."""
    try:
        client.get_job_execution_result().result()
    except Exception as error:
        return error
    return None


def _stop(client: Any, folder: Path) -> str:
    """Stop with a savepoint; where it is."""
    form = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType.NATIVE
    # PyFlink 2.3's own call has lost an argument that Java's wants.
    future = client._j_job_client.stopWithSavepoint(False, (folder / SAVEPOINTS).resolve().as_uri(), form)
    try:
        return str(future.get()).removeprefix("file:")
    except Exception as error:
        raise RuntimeError(f"no savepoint: {cause(error)}") from error


if __name__ == "__main__":
    run_program(run, *sys.argv[1:])
