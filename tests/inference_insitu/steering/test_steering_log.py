"""The log, its strict reading, and runs that do not fit it."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replays import replay

from cdi.errors import RunError
from inference_insitu.steering.commands import Command, Commands, CommandSpec
from inference_insitu.steering.log import Entry, SteeringLog
from inference_insitu.steering.referee import Referee
from inference_insitu.steering.replay import Replay, read_applied

INTERVAL = Command("interval", 10, 95, "rule 1: count > 0")
STOP = Command("stop", None, 180, "é ☃", once=True)


@pytest.fixture
def path(tmp_path):
    log = SteeringLog(tmp_path / "steering.jsonl", Commands())
    log.write(Entry("proposed", 100, INTERVAL, 2))
    log.write(Entry("applied", 100, INTERVAL, 2))
    log.write(Entry("vetoed", 150, Command("interval", 2), 1, "too dense"))
    log.write(Entry("applied", 200, STOP, 0))
    log.close(200)
    log.close(200)
    return tmp_path / "steering.jsonl"


def edited(path, number, **changes):
    """The log with fields of one line changed; None removes one."""
    lines = path.read_text().splitlines()
    fields = json.loads(lines[number]) | changes
    lines[number] = json.dumps(fields)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_replay_applies_what_was_applied_and_no_more(path):
    told: list[str] = []
    steering = replay(path, told=told)
    found = {step: steering.step(step, [Command("snapshot")]) for step in range(0, 250, 50)}
    steering.close()
    assert {step: commands for step, commands in found.items() if commands} == {100: (INTERVAL,), 200: (STOP,)}
    assert told == []


def test_several_commands_of_one_step_keep_their_order(tmp_path):
    log = SteeringLog(tmp_path / "log")
    for command in (STOP, INTERVAL):
        log.write(Entry("applied", 5, command, 0))
    assert replay(tmp_path / "log").step(5) == (STOP, INTERVAL)


def test_a_log_is_never_written_over(path):
    with pytest.raises(FileExistsError):
        SteeringLog(path)
    assert replay(path).step(100) == (INTERVAL,)


def test_a_line_is_in_the_file_when_write_returns(tmp_path):
    log = SteeringLog(tmp_path / "log")
    for number in range(3):
        log.write(Entry("applied", number, STOP, 0))
        assert len((tmp_path / "log").read_text().splitlines()) == number + 2


def test_a_write_that_fails_midway_leaves_whole_lines(tmp_path, monkeypatch):
    """A full disk takes half a line; later there is room again."""
    log = SteeringLog(tmp_path / "log")
    true_write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: true_write(file, data[:20]))
    with pytest.raises(OSError, match="took 20 of"):
        log.write(Entry("applied", 1, STOP, 0))
    monkeypatch.setattr(os, "write", true_write)
    log.write(Entry("applied", 2, INTERVAL, 0))
    log.close(2)
    steering = replay(tmp_path / "log")
    assert steering.step(2) == (INTERVAL,)
    with pytest.raises(OSError, match="is closed"):
        log.write(Entry("applied", 3, STOP, 0))


@pytest.mark.parametrize("kept", [1, 30, 150])
def test_a_last_line_cut_short_is_left_out_and_said(path, kept):
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:kept])
    told: list[str] = []
    steering = replay(path, told=told)
    assert told == [f"{path}: the last line was cut short and is left out"]
    assert [steering.step(step) for step in (100, 200)] == [(INTERVAL,), ()]


def test_a_last_line_cut_within_a_letter_is_cut_short(path):
    data = path.read_bytes()
    path.write_bytes(data[: data.index("é".encode()) + 1])
    told: list[str] = []
    replay(path, told=told)
    assert "cut short" in told[0]


def test_a_last_line_that_lacks_only_its_break_counts(path):
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(lines[:5]))
    told: list[str] = []
    steering = replay(path, told=told)
    assert told == []
    assert [steering.step(step) for step in (100, 200)] == [(INTERVAL,), (STOP,)]


@given(st.integers(0, 2000))
def test_a_log_cut_anywhere_is_read_or_refused_in_one_line(tmp_path_factory, size):
    folder = tmp_path_factory.mktemp("cut")
    log = SteeringLog(folder / "log")
    log.write(Entry("applied", 1, INTERVAL, 0))
    log.write(Entry("applied", 2, STOP, 0))
    data = (folder / "log").read_bytes()
    if size < data.index(b"\n"):
        with pytest.raises(ValueError, match=r"^log must begin with the opening line"):
            read_applied(data[:size], "log")
        return
    steering = Replay(read_applied(data[:size], "log"), "log")
    applied = [steering.step(1), steering.step(2)]
    assert applied in ([(), ()], [(INTERVAL,), ()], [(INTERVAL,), (STOP,)])


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_in_one_line(data):
    with pytest.raises(ValueError, match=r"^log.*must"):
        read_applied(data, "log")


@pytest.mark.parametrize(
    ("number", "changes", "line"),
    [
        (0, {"version": 2}, "must be a steering log of version 1, got version 2"),
        (0, {"version": True}, "got version True"),
        (0, {"event": "applied"}, "must begin with the opening line"),
        (2, {"event": "dance"}, "line 3: no such event"),
        (2, {"step": -1}, "line 3: no such event, step or rank"),
        (2, {"step": True}, "line 3: step must not be True"),
        (2, {"step": 1.5}, "line 3: step must not be 1.5"),
        (2, {"step": 99}, "line 3: steps must not go back, got 99 after 100"),
        (2, {"value": "10"}, "line 3: value must not be '10'"),
        (2, {"value": float("nan")}, "line 3: a line must be JSON"),
        (2, {"value": 1e300}, r"line 3: 'interval' must lie in \[1, 1e\+09\] steps"),
        (2, {"value": 3000}, r"line 3: 'interval' must lie in \[1, 1000\] steps, got 3000"),
        (2, {"name": "__class__"}, "line 3: name of a command must match"),
        (2, {"name": "sing"}, "line 3: no command 'sing'"),
        (2, {"more": 1}, "line 3: an entry must have its own keys, but differs in 'more'"),
        (2, {"event": "closed"}, "line 4: nothing may follow the closing line"),
    ],
)
def test_a_log_that_was_meddled_with_is_one_line(path, number, changes, line):
    commands = Commands(bounds=[CommandSpec("interval", 1, 1000)]) if changes.get("value") == 3000 else None
    with pytest.raises(ValueError, match=line) as error:
        replay(edited(path, number, **changes), commands)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", [b"\xff", b"[]", b"", b"[" * 100_000, b"{}"])
def test_a_line_that_is_no_entry_is_refused(path, line):
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, *lines[1:]]) + b"\n")
    with pytest.raises(ValueError, match="line 2: "):
        replay(path)


def test_refusals_out_of_bounds_are_no_error_in_a_log(tmp_path):
    """They are what the bounds were for."""
    log = SteeringLog(tmp_path / "log")
    log.write(Entry("refused", 1, Command("interval", 0), 0, "'interval' must lie in"))
    assert replay(tmp_path / "log").step(1) == ()


def test_a_missing_log_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        replay(tmp_path / "none")


def test_a_run_that_passes_over_a_logged_step_is_one_line(path):
    steering = replay(path)
    steering.step(90)
    with pytest.raises(RunError, match="applies 'interval 10' at step 100, but this run goes from step 90 to 110"):
        steering.step(110)


def test_a_run_that_begins_after_a_logged_step_is_one_line(path):
    with pytest.raises(RunError, match="at step 100, but this run begins at step 101"):
        replay(path).step(101)


def test_a_run_that_ends_before_the_log_does_says_so(path):
    told: list[str] = []
    steering = replay(path, told=told)
    steering.step(100)
    steering.close()
    assert told == [f"{path}: 1 commands from step 200 on were not reached"]


def test_a_replay_of_a_run_that_fails_leaves_a_log_of_what_it_did(path):
    again = path.with_name("again")
    steering = replay(path, referee=Referee(log=SteeringLog(again)))
    steering.step(100)
    steering.abandon("the simulation failed")
    assert json.loads(again.read_text().splitlines()[-1])["event"] == "closed"
    assert replay(again).step(100) == (INTERVAL,)


def test_steps_of_a_replay_go_forward(path):
    steering = replay(path)
    steering.step(10)
    with pytest.raises(ValueError, match="beyond the last"):
        steering.step(10)
