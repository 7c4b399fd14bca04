"""Real processes are killed while a running query moves: every step is answered once, in order, by somebody."""

import signal

import pytest
from moving_run import PHASES

from inference_insitu.watching.events import read_events

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(280)]

OUT, BACK = "in_transit", "in_situ"


def test_whatever_is_killed_while_a_query_moves_every_step_is_answered_once(moving):
    run = moving()
    for to, phase, victim in (
        (OUT, "begun", "engine"),
        (BACK, "cut", "engine"),
        (OUT, "cut", "broker"),
        (BACK, "begun", "broker"),
        (OUT, "cut", "worker"),
        (BACK, "committed", "worker"),
    ):
        run.move(to, phase, victim)
    run.end()
    assert run.killed == {"engine": 2, "broker": 2, "worker": 2}
    run.assert_whole()


@pytest.mark.parametrize("site", [BACK, pytest.param(OUT, marks=pytest.mark.slow)])
def test_a_worker_that_dies_when_all_is_answered_does_not_keep_log_and_engine(moving, site):
    """The run ends as it is started anew, which says to the log that nothing will follow."""
    run = moving()
    run.move(OUT)
    if site == BACK:
        run.move(BACK)
    run.pause()
    run.kill("worker")
    run.end()
    run.assert_whole()


def test_the_end_waits_for_the_successor_of_a_worker_whose_death_nobody_has_seen(moving):
    """What it handed over is that one's: it joins the log, and says that nothing will follow."""
    run = moving()
    run.move(OUT)
    run.move(BACK)
    run.pause()
    run.kill_unseen(1.0)
    run.end()
    run.assert_whole()
    told = [one.event for one in read_events(run.folder) if one.who == "worker0"]
    assert told.count("worker_started") == 2
    assert told.index("transit_account") > told.index("worker_started", told.index("worker_started") + 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
def test_what_keeps_log_and_engine_may_be_started_anew(moving, number):
    """With frames in the log; the new one has the same address, as workers know no other."""
    run = moving()
    run.move(OUT)
    run.serve_again(number)
    run.move(BACK)
    run.serve_again(number)
    run.move(OUT)
    run.end()
    run.assert_whole()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", ["engine", "broker", "worker"])
def test_each_part_may_die_at_each_phase_of_each_direction(moving, victim):
    """Two workers, so that one may be ready, or have installed, before the other."""
    run = moving(workers=2)
    for phase in PHASES:
        run.move(OUT, phase, victim)
        run.move(BACK, phase, victim)
    run.end()
    assert run.killed == {victim: 2 * len(PHASES)}
    run.assert_whole()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["flink", "spark"])
def test_a_stream_engine_may_die_while_a_query_moves(moving, kind):
    run = moving(engine=kind)
    for to, phase, victim in (
        (OUT, "begun", "engine"),
        (BACK, "cut", "engine"),
        (OUT, "cut", "broker"),
        (BACK, "committed", "engine"),
    ):
        run.move(to, phase, victim)
    run.end()
    run.assert_whole()
