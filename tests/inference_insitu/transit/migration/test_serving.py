"""What keeps a run's log and engine, before it starts anything."""

import pytest
import yaml

from cdi.errors import RunError
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.migration.serving import Serving, TransitConfig


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
