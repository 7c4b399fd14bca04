"""The running query moves and every frame is answered once, whatever dies meanwhile."""

import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from migration_model import STREAM, Run, Site, model, sites
from transit_twins import Summed

from inference_insitu.transit.log.codec import encoded
from inference_insitu.transit.log.records import Alert
from inference_insitu.transit.log.stream_log import ALERTS, LogAway, Topic
from inference_insitu.transit.migration.protocol import Ended, Refused

TO_TRANSIT, BACK = Site.IN_TRANSIT, Site.IN_SITU


def steps(run, count, *, engine=True):
    for _ in range(count):
        run.publish()
        for worker in run.workers:
            worker.share.poll()
            worker.serve()
        if engine:
            run.engine_works()
        run.observe()


def test_a_query_moves_there_and_back(tmp_path):
    run = Run(tmp_path)
    steps(run, 5)
    run.ask(TO_TRANSIT)
    steps(run, 20)
    assert run.agreement.site is TO_TRANSIT
    out = run.agreement.moved.cut
    run.ask(BACK)
    steps(run, 20)
    assert run.agreement.site is BACK
    back = run.agreement.moved.cut
    run.settle()
    run.assert_whole()
    for here in sites(run).values():
        assert [step for step in here if step < out] == list(range(out)), "all before the cut was answered in situ"
        assert not [step for step in here if out <= step < back], "nothing between the cuts"
    assert {step for _, step in run.handed_over} >= set(range(out, back))
    assert max(step for _, step in run.handed_over) < run.step, "frames go through the ring alone in the end"


def test_ranks_that_publish_seldom_are_not_waited_for(tmp_path):
    run = Run(tmp_path, strides=(1, 50, 7))
    steps(run, 3)
    run.ask(TO_TRANSIT)
    steps(run, 5)
    run.now_s += 10.0  # longer than idle_s
    steps(run, 10)
    assert run.agreement.site is TO_TRANSIT
    steps(run, 60)
    run.settle()
    run.assert_whole()


def test_an_engine_with_another_model_is_refused_and_the_query_stays(tmp_path, monkeypatch):
    run = Run(tmp_path)
    steps(run, 2)
    for operator in run.engine.values():
        monkeypatch.setattr(type(operator._analyses.get("summed")), "model", "summed 2")
    run.ask(TO_TRANSIT)
    steps(run, 10)
    ended = run.agreement.last
    assert isinstance(ended, Ended)
    assert not ended.committed
    assert "model must be 'summed 1', got 'summed 2'" in ended.why
    assert run.agreement.site is BACK
    run.settle()
    run.models.clear()  # the workers' own class was given that model too
    run.assert_whole()
    assert not run.handed_over


@pytest.mark.parametrize("direction", [TO_TRANSIT, BACK])
@pytest.mark.parametrize("rounds", range(12))
def test_an_abort_at_any_moment_gives_the_frames_back(tmp_path, direction, rounds):
    run = Run(tmp_path, timeout_s=50.0)
    steps(run, 3)
    if direction is BACK:
        run.ask(TO_TRANSIT)
        steps(run, 12)
        assert run.agreement.site is TO_TRANSIT
    asked = run.ask(direction)
    steps(run, rounds)
    committed = run.agreement.migration is None
    steps(run, 6, engine=False)
    run.now_s += 100.0
    steps(run, 3, engine=False)
    if not committed and run.agreement.migration is None and isinstance(run.agreement.last, Ended):
        assert run.agreement.last.id == asked
    steps(run, 5)
    run.settle()
    run.assert_whole()


def test_a_second_request_meanwhile_is_refused(tmp_path):
    run = Run(tmp_path)
    run.ask(TO_TRANSIT)
    second = run.ask(BACK)
    run.observer.poll()
    assert run.agreement.last == Refused(second, f"migration {second - 1} to in_transit is under way", busy=True)


def test_a_request_before_all_workers_are_there_is_refused(tmp_path):
    run = Run(tmp_path)
    run.workers_expected = 3
    run.kill_worker(0)
    asked = run.ask(TO_TRANSIT)
    run.observer.poll()
    assert run.agreement.last == Refused(asked, "workers [2] have not joined the log yet")


@pytest.mark.parametrize("site", [BACK, TO_TRANSIT])
def test_a_version_takes_over_at_one_step_wherever_frames_are_answered(tmp_path, site):
    run = Run(tmp_path)
    steps(run, 3)
    if site is TO_TRANSIT:
        run.ask(site)
        steps(run, 12)
    run.ask_version(1)
    steps(run, 12)
    assert run.agreement.site is site
    (took_over,) = run.takeovers
    run.settle()
    run.assert_whole()
    for rank in run.ranks:
        by_step = {step: shown for (one, step), shown in run.models.items() if one == rank}
        assert [step for step in by_step if by_step[step] == model(1)] == [*range(took_over.cut, run.step + 1)]


def test_a_version_that_took_over_in_transit_answers_at_home_too_and_goes_again(tmp_path):
    run = Run(tmp_path)
    steps(run, 3)
    for ask in (lambda: run.ask(TO_TRANSIT), lambda: run.ask_version(2), lambda: run.ask(BACK)):
        ask()
        steps(run, 15)
    assert run.agreement.site is BACK
    run.kill_worker(0)
    steps(run, 5)
    assert {run.models[rank, run.step] for rank in run.ranks} == {model(2)}, "whoever starts anew is told"
    run.ask_version(0)
    steps(run, 12)
    assert {run.models[rank, run.step] for rank in run.ranks} == {model(0)}
    run.settle()
    run.assert_whole()
    assert [one.version for one in run.takeovers] == [2, 0]


@pytest.mark.parametrize("site", [BACK, TO_TRANSIT])
def test_a_version_that_cannot_be_loaded_is_refused_and_the_old_one_answers(tmp_path, site):
    run = Run(tmp_path)
    if site is TO_TRANSIT:
        run.ask(site)
        steps(run, 12)
    run.ask_version(3)
    steps(run, 12)
    assert "version 3 of summed must be described in" in run.agreement.last.why
    run.settle()
    run.assert_whole()
    assert {*run.models.values()} == {model(0)}


def test_sides_that_show_different_models_do_not_change_over(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.ask(TO_TRANSIT)
    steps(run, 12)
    monkeypatch.setattr(run.workers[1].versions, "_load", lambda name, version: Summed())
    run.ask_version(1)
    steps(run, 12)
    assert "must show one model, got 'summed 1' here and 'summed 1 version 1'" in run.agreement.last.why
    run.settle()
    run.assert_whole()


WEIGHTS = {
    ("publish",): 8, ("serve", 0): 5, ("serve", 1): 5, ("poll", 0): 5, ("poll", 1): 5, ("engine", 1): 4,
    ("engine", 5): 4, ("checkpoint",): 2, ("kill engine",): 1, ("kill worker", 0): 0.1, ("kill worker", 1): 0.1,
    ("ask", TO_TRANSIT): 0.8, ("ask", BACK): 0.8, ("version", 0): 0.3, ("version", 1): 0.4, ("version", 2): 0.4,
    ("version", 3): 0.1, ("away", 3): 1, ("unacknowledged", 1): 1, ("time", 1.0): 0.2,
    ("time", 6.0): 0.2, ("time", 60.0): 0.2,
}  # fmt: skip


def schedule(seed, *, length, deadly):
    """Actions of every part in an order that ``seed`` chooses; ``deadly``: workers die too, and lose their state."""
    chance = random.Random(seed)
    weights = [weight if deadly or action[0] != "kill worker" else 0 for action, weight in WEIGHTS.items()]
    return chance.choices([*WEIGHTS], weights, k=chance.randint(30, length))


def play(run, actions):
    for action, *arguments in actions:
        try:
            match action, *arguments:
                case ("publish",):
                    run.publish()
                case "serve", number:
                    run.workers[number].serve()
                case "poll", number:
                    run.workers[number].share.poll()
                case "engine", count:
                    run.engine_works(count)
                case ("checkpoint",):
                    run.checkpoint()
                case ("kill engine",):
                    run.kill_engine()
                case "kill worker", number:
                    run.kill_worker(number)
                case "ask", to:
                    run.ask(to)
                case "version", number:
                    run.ask_version(number)
                case "away", calls:
                    run.log.away = calls
                case "unacknowledged", calls:
                    run.log.unacknowledged = calls
                case "time", seconds:
                    run.now_s += seconds
        except LogAway:
            if action == "kill worker":  # it could not join: it is started again
                run.log.away = run.log.unacknowledged = 0
                run.kill_worker(*arguments)
            elif action == "engine":  # an engine that cannot append what it computed starts again from its snapshot
                run.log.away = run.log.unacknowledged = 0
                run.kill_engine()
        away, run.log.away = run.log.away, 0
        run.observe()
        run.log.away = away


def assert_holds(folder, seed, *, deadly):
    run = Run(folder, timeout_s=200.0, strides=(1, 2, 3))
    play(run, schedule(seed, length=400, deadly=deadly))
    run.settle()
    run.assert_whole()


@pytest.mark.parametrize("deadly", [False, True])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(seed=13155)  # a worker dies before it says what it has met: its next life must not promise less
@given(seed=st.integers(0, 2**32))
def test_any_schedule_of_faults_answers_every_frame_once(tmp_path_factory, seed, deadly):
    assert_holds(tmp_path_factory.mktemp("run"), seed, deadly=deadly)


@pytest.mark.slow
@pytest.mark.parametrize("deadly", [False, True])
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_many_schedules_of_faults_answer_every_frame_once(tmp_path_factory, seed, deadly):
    assert_holds(tmp_path_factory.mktemp("run"), seed, deadly=deadly)


def test_an_alert_of_a_view_is_heeded_by_the_worker_whose_rank_it_is_of(tmp_path):
    run = Run(tmp_path)
    for rank in (0, 1, 7):
        run.log.append(Topic("run", ALERTS), encoded(Alert("run", STREAM, rank, 3, "unusual", {"z": 4.5})))
    for worker in run.workers:
        worker.share.poll()
    assert [(number, alert.rank, alert.values["z"]) for number, alert in run.alerts] == [(0, 0, 4.5), (1, 1, 4.5)]
    run.kill_worker(0)
    run.workers[0].share.poll()
    assert len(run.alerts) == 2, "what was before a worker came is of the past"


def test_a_state_that_does_not_fit_after_a_restart_is_told_and_frames_are_answered_all_the_same(tmp_path, monkeypatch):
    run = Run(tmp_path)
    steps(run, 3)
    run.ask(TO_TRANSIT)
    steps(run, 12)
    run.ask(BACK)
    for _ in range(30):  # until it is committed, and not yet answered here what waits
        steps(run, 1)
        if run.agreement.site is BACK:
            break
    run.publish()
    monkeypatch.setattr(Summed, "install", refuse)
    run.kill_worker(0)
    run.settle()
    run.assert_whole()
    assert run.agreement.site is BACK


def refuse(self, stream, rank, state):
    raise ValueError("this state it does not like")
