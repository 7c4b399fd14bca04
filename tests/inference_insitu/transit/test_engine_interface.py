"""The interface to engines without one: what is missing is told, and so is a program that ends by itself."""

import os
import signal
import sys

import pytest

from cdi.errors import MissingDependencyError, RunError
from inference_insitu.transit.engines import flink_engine, java, spark_engine
from inference_insitu.transit.engines.engine import PROCESS, RunningEngine, engine
from inference_insitu.transit.engines.engine_program import cause
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.log.left_behind import end_left_behind


def test_an_engine_that_is_not_there_says_what_makes_it(monkeypatch, tmp_path):
    (tmp_path / "java" / "bin").mkdir(parents=True)
    (tmp_path / "java" / "bin" / "java").touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.setenv("CDI_ENGINES", str(tmp_path))
    for kind in ("flink", "spark"):
        with pytest.raises(MissingDependencyError, match="make engines"):
            RunningEngine(engine(kind), TransitJob("run", "c", str(tmp_path / "job"))).start()
    with pytest.raises(ValueError, match="did you mean 'flink'"):
        engine("flnik")


def test_a_missing_java_says_what_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(java.shutil, "which", lambda name, path: None)
    for kind in ("flink", "spark"):
        with pytest.raises(MissingDependencyError, match="apt-get install openjdk-17"):
            engine(kind).command(TransitJob("run", "c", str(tmp_path / "job")), None)


def test_an_engine_that_ends_without_a_word_is_told(monkeypatch, tmp_path):
    class Nothing:
        name = "nothing"

        def command(self, job, restore):
            return [sys.executable, "-c", "import os; os._exit(3)"]

        def environment(self, job):
            return {}

    one = RunningEngine(Nothing(), TransitJob("run", "c", str(tmp_path / "job")))
    one.start()
    with pytest.raises(RunError, match="is dead: it ended without a word"):
        one.wait_running(60)


class Sleeping:
    name = "sleeping"

    def command(self, job, restore):
        return [sys.executable, "-c", "import time; time.sleep(600)"]

    def environment(self, job):
        return {}


def test_an_engine_that_outlived_its_starter_is_ended_before_another_takes_its_place(tmp_path):
    job = TransitJob("run", "c", str(tmp_path / "job"))
    first, second = RunningEngine(Sleeping(), job), RunningEngine(Sleeping(), job)
    try:
        first.start()
        assert second.start() != first._process.pid
        assert first._process.wait(20) == -signal.SIGTERM
        assert second.status().state == "starting"
        assert end_left_behind(tmp_path / "job" / PROCESS, 20)
        assert not end_left_behind(tmp_path / "job" / PROCESS, 20)
    finally:
        first.kill()
        second.kill()


def test_a_number_that_is_another_s_by_now_is_left_alone(tmp_path):
    for text in ("", "x y", f"{os.getpid()} 1", "1"):
        (tmp_path / "p").write_text(text)
        assert not end_left_behind(tmp_path / "p", 1)


@pytest.mark.parametrize(
    ("told", "cause_told"),
    [
        (
            "An error occurred while calling o1.get.\n: java.util.X: y\nCaused by: java.lang.A: b\n\t... 23 more\n"
            "Caused by: pemja.core.PythonException: <class 'inference_insitu.x.StateRefusedError'>: the state must be\n"
            "\tat /x.py(x.py:1)\n\t... 2 more",
            "StateRefusedError: the state must be",
        ),
        (
            "[X] it failed: Traceback:\n  File x\nValueError: no\n SQLSTATE: 3\n=== Streaming Query ===",
            "ValueError: no",
        ),
        ("plain", "plain"),
        ("", "RuntimeError"),
    ],
)
def test_what_an_engine_tells_at_length_is_one_line(told, cause_told):
    assert cause(RuntimeError(told)) == cause_told


def test_the_newest_complete_checkpoint_is_found(tmp_path):
    assert (flink_engine.latest(tmp_path), flink_engine.completed(tmp_path)) == (None, 0)
    made = ["checkpoints/a/chk-9", "checkpoints/b/chk-12", "savepoints/s", "checkpoints/b/chk-10"]
    for age, name in enumerate(made):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "_metadata").touch()
        os.utime(tmp_path / name / "_metadata", (age, age))
    (tmp_path / "checkpoints/b/chk-13").mkdir()  # not complete
    assert flink_engine.latest(tmp_path) == tmp_path / "checkpoints/b/chk-10"
    assert flink_engine.completed(tmp_path) == 12


def test_a_batch_that_was_cut_is_planned_and_not_completed(tmp_path):
    assert (spark_engine.planned(tmp_path), spark_engine.completed(tmp_path)) == (0, 0)
    for name in ("offsets/8", "offsets/9", "offsets/10", "offsets/.10.crc", "commits/8", "commits/9"):
        (spark_engine.checkpoint(tmp_path) / name).parent.mkdir(parents=True, exist_ok=True)
        (spark_engine.checkpoint(tmp_path) / name).touch()
    assert (spark_engine.planned(tmp_path), spark_engine.completed(tmp_path)) == (11, 10)
