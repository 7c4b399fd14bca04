"""The interface to engines without one: what is missing is told, and so is a program that ends by itself."""

import sys

import pytest

from cdi.errors import MissingDependencyError, RunError
from inference_insitu.transit.engine import RunningEngine, engine
from inference_insitu.transit.job import TransitJob


def test_an_engine_that_is_not_there_says_what_makes_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CDI_ENGINES", str(tmp_path))
    for kind in ("flink", "spark"):
        with pytest.raises(MissingDependencyError, match="make engines"):
            RunningEngine(engine(kind), TransitJob("run", "c", str(tmp_path / "job"))).start()
    with pytest.raises(ValueError, match="did you mean 'flink'"):
        engine("flnik")


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
