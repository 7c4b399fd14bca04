"""All ranks do the same at the same step, whoever is early or late."""

import json
from collections import Counter

import pytest
from collective_contract import check_collective
from hypothesis import given, settings
from hypothesis import strategies as st
from replays import replay
from steering_twin import Interleaving

from cdi.errors import RunError
from inference_insitu.steering.agreement import CLOSING_ROUNDS, Agreement
from inference_insitu.steering.collective import Alone
from inference_insitu.steering.commands import Command, Commands, CommandSpec
from inference_insitu.steering.config import SteeringConfig
from inference_insitu.steering.log import Entry, SteeringLog
from inference_insitu.steering.proposals import CAPACITY, NOBODY, claim, rank_of, urgency_of
from inference_insitu.steering.referee import Referee
from inference_insitu.steering.start import LOG, start_steering
from inference_insitu.watching.events import EventLog, read_events

COMMANDS = Commands(bounds=[CommandSpec("rate", -2, 2), CommandSpec("interval", 1, 100)])
choices = st.lists(st.integers(0, 7), max_size=200)


class Heard:
    """A log that keeps its entries."""

    def __init__(self):
        self.entries: list[Entry] = []

    def write(self, entry):
        self.entries.append(entry)

    def close(self, step):
        pass

    def of(self, *events):
        return [(entry.step, entry.command) for entry in self.entries if entry.event in events]


def play(ranks, calls, proposals, *, lag=1, order=(), veto=None, logs=None, commands=COMMANDS):
    """Each rank's applications [(step, command)]; ``proposals`` maps (rank, call) to commands. Steps are 10 apart."""
    logs = logs or [Heard() for _ in range(ranks)]

    def body(collective, rank):
        referee = Referee(commands, veto if rank == 0 else None, logs[rank])
        agreement = Agreement(collective, rank, referee, lag=lag)
        applied = []
        for call in range(calls):
            step = 10 * call
            applied += [(step, command) for command in agreement.step(step, proposals.get((rank, call), ()))]
        agreement.close()
        return applied

    return Interleaving(ranks, order).run(body)


def only(results):
    """The one answer of all ranks."""
    for result in results:
        if isinstance(result, Exception):
            raise result
    assert all(result == results[0] for result in results)
    return results[0]


@st.composite
def schedules(draw):
    """Ranks, calls, lag, proposals (each of an origin of its own) and who runs when."""
    ranks, calls, lag = draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(0, 4))
    kinds = st.sampled_from(
        [("snapshot", None), ("interval", 10), ("rate", 1.5), ("rate", 3.0), ("stop", None), ("no", 1)]
    )
    places = draw(st.lists(st.tuples(st.integers(0, ranks - 1), st.integers(0, calls - 1), kinds), max_size=12))
    proposals: dict[tuple[int, int], list[Command]] = {}
    for number, (rank, call, (name, value)) in enumerate(places):
        proposals.setdefault((rank, call), []).append(Command(name, value, 10 * call, f"{rank}/{number}"))
    return ranks, calls, lag, proposals, draw(choices)


@given(schedules())
@settings(max_examples=150, deadline=None)
def test_whatever_the_timing_every_rank_applies_the_same_at_the_same_steps(schedule):
    """And every proposal ends once: applied, refused, or expired because the run ended; in bounds where applied."""
    ranks, calls, lag, proposals, order = schedule
    logs = [Heard() for _ in range(ranks)]
    applied = only(play(ranks, calls, proposals, lag=lag, order=order, logs=logs))
    assert applied == only(play(ranks, calls, proposals, lag=lag))
    assert logs[0].of("applied") == applied
    every = [command for commands in proposals.values() for command in commands]
    settled = logs[0].of("applied", "refused", "expired")
    assert sorted(command.origin for _, command in settled) == sorted(command.origin for command in every)
    assert all(COMMANDS.refusal(command) is None for _, command in applied)
    assert {command.origin for _, command in logs[0].of("refused")} == {
        command.origin for command in every if COMMANDS.refusal(command)
    }
    assert all(step >= command.step_proposed + 10 * lag for step, command in applied)
    for rank in range(ranks):  # a rank's order is kept, but for a stop
        mine = [
            command.origin for _, command in applied if command.origin.startswith(f"{rank}/") and command.name != "stop"
        ]
        asked = [c.origin for call in range(calls) for c in proposals.get((rank, call), ()) if c.origin in mine]
        assert mine == asked


def test_what_no_other_rank_hears_of_is_in_this_rank_s_events(tmp_path):
    """Proposals for which rank 1 has no room; its claims, which all ranks hear of, are not."""
    log = EventLog(tmp_path / "events-simulation1.jsonl", "simulation1")
    steering = start_steering(SteeringConfig(), Alone(), 1, tmp_path, log)
    steering.step(0, [Command("interval", 10)] * (CAPACITY + 2))
    steering.abandon("the simulation raised")
    told = Counter(event.event for event in read_events(tmp_path))
    assert told == {"steering_refused": 2, "steering_expired": CAPACITY}
    assert not (tmp_path / LOG).exists()


def test_a_replay_that_cannot_begin_leaves_no_log_behind(tmp_path):
    config = SteeringConfig(replay=str(tmp_path / "none.jsonl"))
    with pytest.raises(FileNotFoundError):
        start_steering(config, Alone(), 0, tmp_path, EventLog(None, ""))
    assert not list(tmp_path.iterdir())


def test_what_a_replay_leaves_out_is_said_by_rank_0(tmp_path, capfd):
    source = tmp_path / "steering-before.jsonl"
    log = SteeringLog(source)
    log.write(Entry("applied", 5, Command("stop"), 0))
    log.close(5)
    config = SteeringConfig(replay=str(source))
    for rank in range(2):
        start_steering(config, Alone(), rank, tmp_path, EventLog(None, "")).close()
    assert capfd.readouterr().err == f"cdi: {source}: 1 commands from step 5 on were not reached\n"


@given(schedules())
@settings(max_examples=60, deadline=None)
def test_the_replay_of_a_log_applies_the_same_at_the_same_steps(tmp_path_factory, schedule):
    ranks, calls, lag, proposals, order = schedule
    path = tmp_path_factory.mktemp("log") / "steering.jsonl"
    logs = [SteeringLog(path, COMMANDS), *(Heard() for _ in range(ranks - 1))]
    applied = only(play(ranks, calls, proposals, lag=lag, order=order, logs=logs))
    again = path.with_name("again.jsonl")
    for source in (path, again):
        log = None if source == again else SteeringLog(again)
        told: list[str] = []
        steering = replay(source, COMMANDS, Referee(COMMANDS, log=log), told)
        ignored = [Command("stop")]
        found = [(10 * call, command) for call in range(calls) for command in steering.step(10 * call, ignored)]
        steering.close()
        assert found == applied
        assert told == []


@pytest.mark.parametrize("lag", [0, 1, 3])
@pytest.mark.parametrize("rank", [0, 2])
def test_a_lone_proposal_is_applied_exactly_lag_calls_later(lag, rank):
    command = Command("interval", 10, 20, "me")
    assert only(play(3, 8, {(rank, 2): [command]}, lag=lag)) == [(10 * (2 + lag), command)]


@given(choices)
@settings(max_examples=30, deadline=None)
def test_a_stop_goes_before_what_was_asked_earlier(order):
    proposals = {(rank, 0): [Command("rate", 1, 0, str(rank))] * 3 for rank in range(3)}
    proposals[(1, 2)] = [Command("stop")]
    applied = only(play(3, 14, proposals, lag=2, order=order))
    assert applied.index((40, Command("stop"))) == 2
    assert len(applied) == 10


def test_nobody_waits_for_ever_behind_a_rank_that_always_asks():
    proposals = {(0, call): [Command("snapshot", None, 0, "greedy")] for call in range(20)}
    proposals[(1, 5)] = [Command("snapshot", None, 0, "patient")]
    applied = only(play(2, 20, proposals, lag=0))
    assert [step for step, command in applied if command.origin == "patient"] == [60]


def test_of_equals_the_lowest_rank_goes_first():
    proposals = {(rank, 0): [Command("snapshot", None, 0, str(rank))] for rank in range(4)}
    applied = only(play(4, 6, proposals, lag=1))
    assert [(step, command.origin) for step, command in applied] == [(10, "0"), (20, "1"), (30, "2"), (40, "3")]


@given(st.integers(1, 3), st.integers(0, 2**40), st.integers(0, 2**31 - 1))
def test_a_claim_names_its_rank_and_urgency(urgency, age, rank):
    number = claim(urgency, age, rank)
    assert NOBODY < number < 2**57
    assert (rank_of(number), urgency_of(number)) == (rank, urgency)
    if urgency < 3:
        assert number < claim(urgency + 1, 0, 2**31 - 1)


def test_a_veto_of_rank_0_holds_on_all_ranks_and_is_logged_with_its_reason():
    logs = [Heard() for _ in range(3)]
    proposals = {(2, 0): [Command("rate", 1), Command("snapshot")]}
    veto = {"rate": "the crystal is at its limit"}
    applied = only(play(3, 6, proposals, veto=lambda command: veto.get(command.name), logs=logs))
    assert [command.name for _, command in applied] == ["snapshot"]
    for log in logs:
        assert [(e.rank, e.reason) for e in log.entries if e.event == "vetoed"] == [(2, "the crystal is at its limit")]


def test_a_veto_that_raises_is_a_veto():
    logs = [Heard(), Heard()]

    def veto(command):
        raise KeyError("mine")

    assert only(play(2, 4, {(1, 0): [Command("snapshot")]}, veto=veto, logs=logs)) == []
    assert [entry.reason for entry in logs[0].entries][-1] == "the veto failed: KeyError: 'mine'"


def test_what_cannot_be_logged_is_not_applied():
    class Full(Heard):
        def write(self, entry):
            raise OSError(28, "No space left on device")

    heard = Heard()
    assert only(play(2, 4, {(0, 0): [Command("snapshot")]}, logs=[Full(), heard])) == []
    assert "cannot be logged" in heard.entries[0].reason


def test_a_command_asked_for_once_is_applied_once_whoever_asks():
    """Two workers see the same, and one of them starts anew and sees it again."""
    rule = Command("snapshot", None, 0, "rule 1: count > 0", once=True)
    logs = [Heard(), Heard()]
    applied = only(play(2, 8, {(0, 0): [rule], (1, 0): [rule], (1, 3): [rule]}, logs=logs))
    assert applied == [(10, rule)]
    assert [entry.reason for entry in logs[0].entries if entry.event == "refused"] == [
        "it is asked for once, and was applied at step 10"
    ] * 2


def test_a_rank_that_proposes_more_than_there_is_room_for_is_told():
    heard = Heard()
    agreement = Agreement(Alone(), 0, Referee(COMMANDS, log=heard))
    agreement.step(0, [Command("snapshot")] * (CAPACITY + 3))
    assert [entry.reason for entry in heard.entries] == [
        f"more than {CAPACITY} proposals of this rank wait already"
    ] * 3
    agreement.close()
    assert len(heard.of("expired")) == CAPACITY
    assert len(heard.of("proposed")) == CLOSING_ROUNDS + 1


def test_close_applies_nothing_and_forgets_nothing():
    logs = [Heard(), Heard()]
    proposals = {(1, 2): [Command("snapshot", None, 0, str(number)) for number in range(5)]}
    assert only(play(2, 3, proposals, lag=4, logs=logs)) == []
    assert [command.origin for _, command in logs[0].of("expired")] == list("01234")


@given(choices, st.integers(0, 3), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_a_rank_that_stops_calling_is_one_line_on_the_others(order, lag, leaver):
    """No rank waits for ever, and none applies what another has not."""

    def body(collective, rank):
        agreement = Agreement(collective, rank, Referee(COMMANDS), lag=lag, timeout_s=5)
        for call in range(20):
            if rank == leaver and call == 3:
                return "left"
            agreement.step(call, [Command("snapshot")] if call == rank else [])
        return "ended"

    results = Interleaving(3, order).run(body)
    assert results.pop(leaver) == "left"
    for result in results:
        assert isinstance(result, RunError)
        assert "did not agree at step" in str(result)
        assert "within 5 s" in str(result)
        assert "\n" not in str(result)


def test_after_a_timeout_steering_says_so_and_close_waits_for_nobody():
    def body(collective, rank):
        agreement = Agreement(collective, rank, Referee(COMMANDS), lag=0)
        if rank == 1:
            return None
        with pytest.raises(RunError, match="did not agree"):
            agreement.step(0)
        agreement.close()
        agreement.abandon("again")
        with pytest.raises(RunError, match="steering has ended: the ranks did not agree"):
            agreement.step(1)
        return "done"

    assert Interleaving(2).run(body) == ["done", None]


def test_after_an_error_of_the_communicator_close_waits_for_nobody():
    class Broken(Alone):
        def share(self, payload, root, timeout_s):
            raise RunError("a rank has died")

    agreement = Agreement(Broken(), 0, Referee(COMMANDS), lag=0)
    with pytest.raises(RunError, match="a rank has died"):
        agreement.step(0, [Command("snapshot")])
    agreement.close()
    with pytest.raises(RunError, match="its communication failed: a rank has died"):
        agreement.step(1)


def test_a_rank_at_another_step_is_found_out_when_a_command_would_be_applied():
    def body(collective, rank):
        agreement = Agreement(collective, rank, Referee(COMMANDS), lag=0)
        return agreement.step(7 + rank, [Command("snapshot")])

    first, second = Interleaving(2).run(body)
    assert first == (Command("snapshot"),)
    assert isinstance(second, RunError)
    assert "got 8 on rank 1 and 7 on rank 0" in str(second)


def test_a_rank_that_abandons_leaves_without_waiting():
    heard = Heard()
    agreement = Agreement(Alone(), 0, Referee(COMMANDS, log=heard), lag=2)
    agreement.step(0, [Command("snapshot")])
    agreement.abandon("the simulation failed")
    assert heard.of("expired") == [(0, Command("snapshot"))]
    with pytest.raises(RunError, match="the simulation failed"):
        agreement.step(1)


@pytest.mark.parametrize("step", [3, 2, -1])
def test_steps_go_forward(step):
    agreement = Agreement(Alone(), 0, Referee(COMMANDS))
    agreement.step(3)
    with pytest.raises(ValueError, match="beyond the last"):
        agreement.step(step)


@pytest.mark.parametrize(
    ("more", "line"), [({"lag": -1}, "lag must"), ({"timeout_s": 0}, "timeout_s must"), ({}, "rank must")]
)
def test_an_agreement_s_arguments_are_checked(more, line):
    with pytest.raises(ValueError, match=line):
        Agreement(Alone(), 0 if more else -1, Referee(), **more)


def test_damaged_bytes_are_one_line_on_every_rank():
    class Damaged(Alone):
        def share(self, payload, root, timeout_s):
            return payload[:100] + b"!" + payload[101:]

    agreement = Agreement(Damaged(), 0, Referee(COMMANDS), lag=0)
    with pytest.raises(RunError, match="arrived damaged: checksum"):
        agreement.step(0, [Command("snapshot")])


@given(st.integers(1, 4), choices)
@settings(max_examples=30, deadline=None)
def test_the_twin_keeps_the_contract(ranks, order):
    assert Interleaving(ranks, order).run(lambda c, rank: check_collective(c, rank, ranks)) == [None] * ranks


def test_a_lone_rank_keeps_the_contract():
    check_collective(Alone(), 0, 1)


def test_the_log_of_a_run_reads_as_what_happened(tmp_path):
    path = tmp_path / "steering.jsonl"
    proposals = {(0, 0): [Command("rate", 5, 0, "me"), Command("interval", 10, 0, "me")]}
    only(play(2, 4, proposals, logs=[SteeringLog(path, COMMANDS), Heard()]))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line.get("name"), line.get("step")) for line in lines] == [
        ("opened", None, None),
        ("proposed", "interval", 10),
        ("applied", "interval", 10),
        ("proposed", "rate", 20),
        ("refused", "rate", 20),
        ("closed", None, 30),
    ]
    assert lines[4]["reason"] == "'rate' must lie in [-2, 2], got 5"
