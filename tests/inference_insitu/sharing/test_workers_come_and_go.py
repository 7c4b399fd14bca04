"""A run whose workers come and go, and are killed: real ranks, real processes."""

import pytest
import yaml
from sharing_run import KEEPERS, SharingRun, coupling

from inference_insitu.sharing.wish import ask_for_workers

pytest.importorskip("mpi4py")
pytestmark = [pytest.mark.mpi, pytest.mark.timeout(280)]

ASKED_S = 100.0
QUIET = {"least": 1, "most": KEEPERS, "behind": 100_000, "for_s": 60.0}
BEHIND = {"least": 1, "most": KEEPERS, "behind": 12, "ahead": 2, "for_s": 0.2, "pause_s": 0.5}


@pytest.fixture
def sharing(tmp_path):
    made = []

    def make(*given, **options):
        made.append(SharingRun(tmp_path, *given, **options))
        made[-1].until(lambda: made[-1].counts["worker_ready"])
        return made[-1]

    yield make
    for run in made:
        run.clear()


def test_workers_come_and_go_as_asked_and_one_that_is_killed_comes_back(sharing):
    run = sharing(QUIET)
    (said,) = ask_for_workers(run.folder, "2", timeout_s=ASKED_S)
    assert said.fields["count"] == 2
    (said,) = ask_for_workers(run.folder, "1", timeout_s=ASKED_S)
    assert said.fields["rings"] == {"0": 3, "1": 0}
    run.until(lambda: run.counts["worker_stopped"] == 1)
    with pytest.raises(ValueError, match=r"must be rule or lie in \[1, 2\], got '3'"):
        ask_for_workers(run.folder, "3", timeout_s=1.0)
    ask_for_workers(run.folder, "2", timeout_s=ASKED_S)
    assert run.counts["ring_given"] == run.counts["ring_taken"] == 3
    assert run.counts["worker_died"] == run.counts["restart"] == 0, "who leaves does not die"
    before = len(run.answers)
    for answer in run.answers:
        assert answer["values"]["seen"] == answer["step"] + 1, answer
    run.kill_worker(1)
    run.until(lambda: run.counts["worker_ready"] == 4 and len(run.answers) > before)
    assert run.end() == {"inferred"}


@pytest.mark.slow
def test_a_rule_brings_a_worker_where_frames_wait(sharing):
    run = sharing(BEHIND, answer_s=0.2)
    run.until(lambda: run.counts["workers_changed"])
    assert run.named("workers_changed")[0].fields["count"] == 2
    assert run.end() == {"inferred"}
    for answer in run.answers:
        assert answer["values"]["seen"] == answer["step"] + 1, answer


@pytest.mark.slow
def test_the_rings_of_a_worker_that_is_given_up_are_read_by_another(sharing):
    run = sharing(QUIET, {"action": "continue"})
    ask_for_workers(run.folder, "2", timeout_s=ASKED_S)
    run.kill_worker(0)
    run.until(lambda: run.counts["ring_inherited"] == 2)
    before = len(run.answers)
    run.until(lambda: {one["rank"] for one in run.answers[before:]} == {0, 1, 2})
    assert run.end() <= {"inferred", "lost", "no_inference"}
    assert run.counts["gave_up"] == 1
    assert {one.fields["worker"] for one in run.named("ring_inherited")} == {1}


@pytest.mark.slow
def test_a_worker_that_cannot_be_used_leaves_the_rings_to_the_others(sharing):
    run = sharing(QUIET, unusable=[1])
    (said,) = ask_for_workers(run.folder, "2", timeout_s=ASKED_S)
    assert said.fields["count"] == 1
    assert run.end() == {"inferred"}
    assert [one.fields["worker"] for one in run.named("worker_not_joined")] == [1]


def test_a_run_without_a_rule_says_that_its_workers_stay(tmp_path):
    with pytest.raises(ValueError, match=r"must be a folder of a coupled run, got one without coupling.yaml"):
        ask_for_workers(tmp_path, "2", timeout_s=1.0)
    (tmp_path / "coupling.yaml").write_text(yaml.safe_dump(coupling(None, {}, {})))
    with pytest.raises(ValueError, match=r"must have placement.scaling for workers to come and go"):
        ask_for_workers(tmp_path, "2", timeout_s=1.0)
