"""Two jobs, really started and really killed: the simulation goes on, its books balance, nothing outlives it long."""

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from job_run import JobRun, alive, ended, until

pytest.importorskip("mpi4py")

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.timeout(180),
    pytest.mark.skipif(find_spec("adios2") is None, reason="ADIOS2 is not installed (group sst)"),
]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[JobRun]:
    found = JobRun(tmp_path)
    found.configure()
    yield found
    found.end()


def balanced(run: JobRun) -> dict:
    books = run.books()
    assert books["balanced"]
    assert books["published"] == sum(len(run.ledger(rank)) for rank in range(len(list(run.output.glob("ledger-*")))))
    return books


def test_every_rank_is_served_and_what_arrives_is_what_was_published(run):
    """By one job at a time, which may start first; nothing is left behind, and nothing is said that is not ours."""
    serving, simulation = run.serve(), run.simulate(ranks=2)
    until(run.answers)
    assert "another one" in ended(run.serve(), code=1)
    run.stop()
    assert all(line.startswith(("cdi: ", "{")) for line in ended(simulation).splitlines())
    assert ended(serving) == ""
    books = balanced(run)
    assert books["inferred"] > 0
    answers = run.answers()
    assert len(answers) == books["inferred"]
    assert all(answer["values"]["right"] for answer in answers)
    assert {answer["rank"] for answer in answers} == {0, 1}
    assert not list(Path("/dev/shm").glob(f"cdi-{run.events('attach')[0].fields['run']}*"))
    assert not list((run.output / "job").glob("answers-*"))


@pytest.mark.slow
def test_a_serving_job_may_come_late(run):
    run.configure(wait_ready=False)
    simulation = run.simulate()
    until(lambda: run.step() > 20)
    serving = run.serve()
    until(run.answers)
    run.stop()
    ended(simulation)
    ended(serving)
    books = balanced(run)
    assert books["inferred"] == len(run.answers())
    assert books["dropped"]["superseded"] > 0


def test_a_killed_serving_job_stops_nothing_and_the_next_one_is_taken(run):
    serving, simulation = run.serve(), run.simulate()
    until(run.answers)
    serving.kill()
    until(lambda: not alive(run.pids("session")[0]))
    step = run.step()
    until(lambda: run.step() > step + 50)
    answered = len(run.answers())
    again = run.serve()
    until(lambda: len(run.answers()) > answered + 5)
    run.stop()
    ended(simulation)
    ended(again)
    balanced(run)
    assert all(answer["values"]["right"] for answer in run.answers())
    assert [event.fields["number"] for event in run.events("session")] == [1, 2]
    assert len(run.events("serving_job_lost")) == 1


@pytest.mark.slow
def test_a_session_killed_at_once_is_begun_anew_by_its_job(run):
    """As a crash inside ADIOS2 would: the job itself goes on."""
    serving, simulation = run.serve(), run.simulate()
    until(run.answers)
    os.kill(run.pids("session")[0], signal.SIGKILL)
    until(lambda: len(run.pids("session")) == 2)
    answered = len(run.answers())
    until(lambda: len(run.answers()) > answered + 5)
    run.stop()
    ended(simulation)
    assert "anew" in ended(serving)
    balanced(run)


@pytest.mark.slow
def test_a_killed_courier_is_replaced(run):
    serving, simulation = run.serve(), run.simulate()
    until(run.answers)
    os.kill(run.pids("courier_started")[0], signal.SIGKILL)
    until(lambda: len(run.pids("courier_started")) == 2)
    answered = len(run.answers())
    until(lambda: len(run.answers()) > answered + 5)
    run.stop()
    ended(simulation)
    ended(serving)
    balanced(run)


@pytest.mark.slow
def test_a_stopped_serving_job_stops_nothing(run):
    """ADIOS2 then waits in the courier, which is killed for it and replaced; the job serves again when it goes on."""
    run.configure(hang_timeout_s=2.0)
    serving, simulation = run.serve(), run.simulate()
    until(run.answers)
    session = run.pids("session")[0]
    os.kill(session, signal.SIGSTOP)
    step = run.step()
    until(lambda: run.step() > step + 200)
    os.kill(session, signal.SIGCONT)
    answered = len(run.answers())
    until(lambda: len(run.answers()) > answered + 5)
    run.stop()
    ended(simulation)
    ended(serving)
    balanced(run)


@pytest.mark.slow
def test_a_simulation_that_nobody_served_ends_with_whole_books(run):
    run.configure(wait_ready=False, drain_timeout_s=1000.0)
    ended(run.simulate(ranks=2, steps=20))
    books = balanced(run)
    assert books["inferred"] == 0
    assert set(books["dropped"]) <= {"superseded", "no_inference", "undelivered"}
    assert not any(map(alive, run.pids("courier_started")))
    ended(run.serve())  # too late: there is nothing to do


def test_a_killed_simulation_ends_the_serving_job_and_its_books_are_closed(run):
    serving, simulation = run.serve(), run.simulate()
    until(run.answers)
    os.kill(run.pids("attach")[0], signal.SIGKILL)
    simulation.communicate(timeout=60)
    ended(serving)
    published = int(run.events("simulation_died")[0].fields["published"])
    rows = run.ledger()
    assert len(rows) == published
    assert sum(row["outcome"] == "inferred" for row in rows) == len(run.answers())
    until(lambda: not any(map(alive, run.pids("courier_started"))))


@pytest.mark.slow
def test_a_simulation_killed_with_its_couriers_ends_the_serving_job(run):
    serving, simulation = run.serve(timeout_s=3.0), run.simulate()
    until(run.answers)
    os.kill(run.pids("courier_started")[0], signal.SIGSTOP)
    os.kill(run.pids("attach")[0], signal.SIGKILL)
    os.kill(run.pids("courier_started")[0], signal.SIGKILL)
    simulation.communicate(timeout=60)
    assert "within 3 s" in ended(serving, code=1)


@pytest.mark.slow
def test_a_worker_that_fails_for_good_ends_its_job_and_the_next_one_is_taken(run):
    run.configure(plugin="job_analyses:deadly", times=1)
    serving, simulation = run.serve(), run.simulate()
    assert "failed for good" in ended(serving, code=1)
    until(lambda: any(row["outcome"] == "no_inference" for row in run.ledger()))
    config = run.output / "coupling.yaml"
    config.write_text(config.read_text().replace("deadly", "check"))
    again = run.serve()
    until(run.answers)
    run.stop()
    ended(simulation)
    ended(again)
    balanced(run)


@pytest.mark.slow
def test_abort_ends_the_simulation_with_the_serving_job(run):
    run.configure(plugin="job_analyses:deadly", action="abort")
    serving, simulation = run.serve(), run.simulate()
    ended(serving, code=1)
    assert "inference failed" in simulation.communicate(timeout=60)[1]
    assert simulation.returncode


def test_a_folder_without_a_run_is_told(run):
    assert "got none within 1 s" in ended(run.serve(timeout_s=1.0), code=1)
