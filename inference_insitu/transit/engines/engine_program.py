"""What the programs of all engines share: read the job, say how it stands, stop on SIGTERM, fail with a reason."""

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from inference_insitu.transit.engines.durable import Durable
from inference_insitu.transit.engines.engine import FAILED, STARTING, EngineStatus, write_status
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.engines.partition import READER
from inference_insitu.transit.log.stream_log import StreamLog

MOST_PROBLEM = 1000

_ERROR = re.compile(r"(Caused by: )?[\w.]*(Error|Exception)\b")
_OF_PYTHON = re.compile(r"^pemja\.core\.PythonException: <class '(?:[\w.]*\.)?(\w+)'>:")
"""How Java tells of an error in Python."""

Run = Callable[[TransitJob, str, threading.Event], EngineStatus]


def run_program(run: Run, job_path: str, restore: str = "") -> NoReturn:
    """Let ``run`` (job, what to go on from, when to stop) do its work, and end the process."""
    job = TransitJob.read(Path(job_path))
    folder = Path(job.folder)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    write_status(folder, EngineStatus(STARTING, os.getpid()))
    code = 0
    try:
        write_status(folder, run(job, restore, stop))
    except Exception as error:
        traceback.print_exc()
        write_status(folder, EngineStatus(FAILED, os.getpid(), problem=cause(error)))
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the threads of a JVM do not keep us


def cause(error: Exception) -> str:
    """What is at the root of what an engine tells at length, over lines of Java and Python."""
    text = str(error).partition("=== Streaming Query ===")[0]  # Spark's plan follows
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    told = (errors or lines or [type(error).__name__])[-1].removeprefix("Caused by: ")
    return _OF_PYTHON.sub(r"\1:", told)[:MOST_PROBLEM]


def standing(job: TransitJob, log: StreamLog, durable: Durable, state: str, savepoint: str = "") -> EngineStatus:
    """How the engine stands, told to others too."""
    seen = durable.seen()
    committed = {topic.name: log.committed(topic).get(READER, 0) for topic in seen}
    by_name = {topic.name: offset for topic, offset in seen.items()}
    status = EngineStatus(state, os.getpid(), by_name, committed, savepoint)
    write_status(Path(job.folder), status)
    return status
