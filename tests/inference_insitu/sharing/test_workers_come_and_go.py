"""A run whose workers come and go while one of them is killed: real ranks, real processes."""

import os
import signal
from pathlib import Path

import pytest
from fault_runs import HERE as FAULTS
from fault_runs import Episode, Launched
from launching import environment

from inference_insitu.sharing.wish import ask_for_workers

pytest.importorskip("mpi4py")
pytestmark = [pytest.mark.mpi, pytest.mark.timeout(200)]

RANKS, KEEPERS, STEPS, SLOTS = 3, 2, 250, 64
QUIET = {"least": 1, "most": KEEPERS, "behind": 10_000, "for_s": 60.0}
BEHIND = {"least": 1, "most": KEEPERS, "behind": 12, "ahead": 2, "for_s": 0.2, "pause_s": 0.5}


def episode(name, scaling, **options):
    return Episode(
        name,
        steps=STEPS,
        plugin="counting:Counting",
        options=options,
        placement={"ranks": KEEPERS, "scaling": scaling},
        policies={"heat": {"kind": "block", "timeout_s": 60.0}},
        slots=SLOTS,
        batch=4,
        step_s=0.02,
    )


def launched(folder, one, ranks=RANKS + KEEPERS):
    paths = [str(Path(__file__).parent), str(FAULTS), environment()["PYTHONPATH"]]
    return Launched(folder, ranks, [one], variables={"PYTHONPATH": os.pathsep.join(paths)})


def check(run, outcome, *, killed=0):
    assert run.code == 0, run.stderr
    outcome.check_state()
    outcome.check_books(ranks=RANKS)
    outcome.check_nothing_left()
    assert set(outcome.outcomes) == {"inferred"}
    if not killed:
        for answer in outcome.answers:
            assert answer["values"]["seen"] == answer["step"] + 1, answer
    assert not list(outcome.folder.glob("handed-*"))


def test_workers_come_and_go_as_asked_and_no_frame_is_lost(tmp_path):
    run = launched(tmp_path, episode("asked", QUIET))
    outcome = run.outcome()
    run.wait_for(lambda: outcome.counts["worker_ready"] == 1)
    (said,) = ask_for_workers(outcome.folder, "2", timeout_s=60.0)
    assert said.fields["count"] == 2
    (said,) = ask_for_workers(outcome.folder, "1", timeout_s=60.0)
    assert said.fields["rings"] == {"0": 3, "1": 0}
    run.wait_for(lambda: outcome.counts["worker_stopped"] == 1)
    with pytest.raises(ValueError, match=r"must be rule or lie in \[1, 2\], got '3'"):
        ask_for_workers(outcome.folder, "3", timeout_s=1.0)
    ask_for_workers(outcome.folder, "2", timeout_s=60.0)
    run.wait()
    check(run, outcome)
    assert outcome.counts["ring_given"] == outcome.counts["ring_taken"] == 3
    assert outcome.counts["worker_died"] == 0


def test_a_rule_brings_a_worker_where_frames_wait_and_one_that_is_killed_comes_back(tmp_path):
    run = launched(tmp_path, episode("rule", BEHIND, answer_s=0.03))
    outcome = run.outcome()
    run.wait_for(lambda: outcome.counts["workers_changed"] >= 1)
    assert outcome.named("workers_changed")[0].fields["count"] == 2
    second = next(one for one in outcome.named("worker_started") if one.who == "worker1")
    os.kill(int(second.fields["pid"]), signal.SIGKILL)
    run.wait()
    check(run, outcome, killed=1)
    assert outcome.counts["worker_died"] == 1


@pytest.mark.slow
def test_a_worker_that_cannot_be_used_leaves_the_rings_to_the_others(tmp_path):
    run = launched(tmp_path, episode("unusable", QUIET, unusable=[1]))
    outcome = run.outcome()
    run.wait_for(lambda: outcome.counts["worker_ready"] == 1)
    (said,) = ask_for_workers(outcome.folder, "2", timeout_s=60.0)
    assert said.fields["count"] == 1
    run.wait()
    check(run, outcome)
    assert [one.fields["worker"] for one in outcome.named("worker_not_joined")] == [1]


def test_a_run_without_a_rule_says_that_its_workers_stay(tmp_path):
    with pytest.raises(ValueError, match=r"must be a folder of a coupled run, got one without coupling.yaml"):
        ask_for_workers(tmp_path, "2", timeout_s=1.0)
    run = launched(tmp_path, Episode("fixed"), 2).wait()
    with pytest.raises(ValueError, match=r"must have placement.scaling for workers to come and go"):
        ask_for_workers(run.outcome().folder, "2", timeout_s=1.0)
