"""What keeps a run's log and engine, before it starts anything."""

import pytest
import yaml

from cdi.errors import RunError
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.transit.engines.engine import RUNNING, EngineStatus
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.migration import serving
from inference_insitu.transit.migration.serving import Serving, TransitConfig
from inference_insitu.watching.events import EventLog


def never(line):
    raise AssertionError(f"nothing is started: {line}")


COUPLING = {"streams": {"s": {"analysis": "a"}}, "analyses": {"a": {"plugin": "moments"}}}


def test_log_and_checkpoints_of_an_earlier_run_are_not_taken_for_this_one(tmp_path):
    (tmp_path / "coupling.yaml").write_text(yaml.safe_dump(COUPLING))
    WorkerSpec(0, (), str(tmp_path / "coupling.yaml"), str(tmp_path), run="new").write(tmp_path / "worker-0.json")
    TransitJob("old", str(tmp_path / "coupling.yaml"), str(tmp_path / "transit")).write()
    with pytest.raises(
        ValueError, match="must be of run new, got log and checkpoints of the earlier run old; remove it"
    ):
        Serving(tmp_path, TransitConfig(), never).serve()


def test_a_run_whose_workers_come_and_go_has_no_log(tmp_path):
    placement = {"ranks": 2, "scaling": {"least": 1, "most": 2}}
    (tmp_path / "coupling.yaml").write_text(yaml.safe_dump(COUPLING | {"placement": placement}))
    WorkerSpec(0, (), str(tmp_path / "coupling.yaml"), str(tmp_path), run="new").write(tmp_path / "worker-0.json")
    with pytest.raises(ValueError, match="must be a run whose workers keep their ranks"):
        Serving(tmp_path, TransitConfig(), never).serve()


def test_a_run_that_does_not_come_is_not_waited_for(tmp_path):
    with pytest.raises(RunError, match=r"must hold a coupled run, got none within 0\.01 s"):
        Serving(tmp_path, TransitConfig(timeout_s=0.01), never).serve()


class Log:
    """Of a run whose workers have said what ``over`` tells, and in whose topics ``waiting`` records wait."""

    def __init__(self, monkeypatch, *, over, waiting):
        self.agreement = self
        self.over = over
        monkeypatch.setattr(serving, "LOOK_S", 0.001)
        monkeypatch.setattr(serving, "Moves", lambda *given, **named: self)
        monkeypatch.setattr(serving, "lag", lambda *given: waiting.pop(0) if len(waiting) > 1 else waiting[0])

    def poll(self):
        return False


class Running:
    def status(self):
        return EngineStatus(RUNNING, pid=1)


@pytest.mark.parametrize(
    ("over", "waiting", "left"),
    [(True, [3, 2, 1, 0], 0), (False, [0], 0), (True, [2], 2), (False, [4, 2], 2)],
    ids=["answered", "silent", "held for ever", "silent and held"],
)
def test_serving_ends_once_nothing_waits_or_nobody_is_left_to_end_the_wait(tmp_path, monkeypatch, over, waiting, left):
    (tmp_path / "coupling.yaml").write_text(yaml.safe_dump(COUPLING))
    (tmp_path / "metrics-0.prom").touch()
    one = Serving(tmp_path, TransitConfig(timeout_s=0.2), lambda line: None)
    one._running = Running()
    job = TransitJob("run", str(tmp_path / "coupling.yaml"), str(tmp_path / "transit"))
    log = Log(monkeypatch, over=over, waiting=waiting)
    assert one._watch(job, log, None, EventLog(None, "test")) == left
