"""A rank dies, the user interrupts, inference fails for good: books are whole, and nothing else is left.

Under MPICH the launcher kills every rank as soon as one dies. The worker is not among them: it answers what is in the
rings, ends the dead ranks' books and goes.
"""

import os
import signal

import pytest
from fault_runs import Episode, Launched, Outcome

pytest.importorskip("mpi4py")
pytestmark = [pytest.mark.mpi, pytest.mark.timeout(300)]

DEATH = 5
SLOW = {"options": {"answer_s": 0.06}, "slots": 8, "policies": {"heat": {"kind": "drop_newest"}}, "steps": 40}
"""Frames wait in the rings when it happens."""


@pytest.fixture
def launch(tmp_path):
    started = []

    def run(*episodes, ranks=3):
        started.append(Launched(tmp_path, ranks, episodes))
        return started[-1]

    yield run
    for one in started:
        one.kill()


def test_a_dead_simulation_rank(launch):
    """Killed in the middle of a step: its rows on their way to the file are not lost, and what waits is answered."""
    run = launch(Episode("killed", fault={"rank": 0, "step": DEATH, "what": "kill"}, **SLOW | {"slots": 4})).wait()
    assert run.code != 0
    outcome = run.outcome()
    outcome.check_nothing_left()
    outcome.check_estate()
    assert outcome.of(0)[:4] == ["inferred"] * 4
    assert set(outcome.of(0)[4:]) <= {"inferred", "full"}
    assert len(outcome.of(0)) == DEATH + 1
    assert outcome.named("simulation_died")[0].fields["published"] == DEATH + 1
    assert (outcome.counts["drained"], outcome.counts["simulation_died"]) == (1, 2)


@pytest.mark.slow
def test_a_dead_simulation_rank_while_the_worker_starts(launch):
    run = launch(
        Episode(
            "starting",
            fault={"rank": 1, "step": DEATH, "what": "kill"},
            options={"start_s": 100.0},
            placement={"wait_ready": False},
            step_s=0.5,
        )
    )
    run.wait()
    outcome = run.outcome()
    outcome.check_nothing_left()
    if outcome.counts["worker_started"]:  # else it had no time to, and the next run removes the rings
        outcome.check_estate()
    assert set(outcome.outcomes) == {"undelivered", "superseded"}


def test_a_dead_keeper(launch):
    run = launch(Episode("keeper", fault={"rank": 0, "step": DEATH, "what": "kill_keeper"}, step_s=0.02, **SLOW))
    run.wait()
    assert run.code != 0
    assert "the launcher ends the whole job where a rank dies" in run.stderr
    run.outcome().check_nothing_left()
    run.outcome().check_estate()


@pytest.mark.slow
def test_an_interrupt_of_the_launcher(launch):
    run = launch(Episode("interrupted", fault={"rank": 0, "step": DEATH, "what": "wait"}, **SLOW))
    run.wait_for((run.folder / "interrupted" / "waiting").exists)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.wait(timeout_s=90).code != 0
    outcome = run.outcome()
    outcome.check_nothing_left()
    _check_whole_so_far(outcome, [DEATH, DEATH + 1])


def test_a_simulation_that_raises_on_one_rank_ends_on_all(launch):
    """The others, which wait for it, would do so for ever; they are ended, and their books by the worker."""
    run = launch(Episode("raises", fault={"rank": 0, "step": DEATH, "what": "raise"}, **SLOW)).wait()
    assert run.code != 0
    assert "RuntimeError: the simulation raises" in run.stderr
    outcome = run.outcome()
    outcome.check_nothing_left()
    assert outcome.counts["abandoned"] == 1
    assert len(outcome.of(0)) == DEATH + 1
    assert [event.fields["rank"] for event in outcome.named("simulation_died")] == [1]
    outcome.check_estate()


def test_abort_ends_every_rank_at_the_same_step_with_one_line(launch):
    """A first episode, whose worker cannot start, is refused on every rank."""
    run = launch(
        Episode("refused", plugin="nowhere_at_all:nothing", failure={"action": "abort"}),
        Episode("abort", options={"frames": {"3": "once:kill"}}, failure={"action": "abort"}, step_s=0.05, steps=1000),
    ).wait()
    assert run.code == 1
    for rank in (0, 1):
        told = (run.folder / "refused" / f"refused-{rank}").read_text()
        assert told.startswith("inference is not ready (on_inference_failure: abort)")
    run.outcome("refused").check_nothing_left()
    lines = [line for line in run.stderr.splitlines() if line.startswith("cdi: inference failed before step")]
    assert len(lines) == 1
    assert "Traceback" not in run.stderr
    outcome = run.outcome("abort")
    outcome.check_nothing_left()
    (steps,) = {len(outcome.of(rank)) for rank in (0, 1)}
    assert steps < 1000
    assert outcome.of(0)[3] == "lost"
    _check_whole_so_far(outcome, [steps])
    assert (outcome.counts["gave_up"], outcome.counts["abandoned"]) == (1, 2)


def _check_whole_so_far(outcome: Outcome, steps: list[int]) -> None:
    """Each rank has one row for each of its steps without a gap."""
    for rank in (0, 1):
        found = [step for _, owner, step in sorted(outcome.rows) if owner == rank]
        assert found == list(range(len(found)))
        assert len(found) in steps
