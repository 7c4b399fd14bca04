"""A worker that is started anew while the log is away does not answer what others are to answer."""

import numpy as np
import pytest

from inference_insitu.inference.elsewhere import Route
from inference_insitu.inference.frame import Frame
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.log.stream_log import LogAway
from inference_insitu.transit.migration.config import MigrationConfig
from inference_insitu.transit.migration.moving_worker import MovingWorker
from inference_insitu.transit.migration.protocol import Site
from inference_insitu.watching.events import EventLog


def worker(folder, consumers=()):
    (folder / "transit").mkdir(exist_ok=True)
    given = {"worker": 0, "workers": 1, "config": MigrationConfig(), "take": None, "heed": None}
    return MovingWorker(folder, "run", consumers, {}, {}, **given, events=EventLog(None, "test"))


class Standing:
    def __init__(self, site, versions=()):
        self.moved = site is not Site.IN_SITU or any(versions)


@pytest.mark.parametrize(
    ("standing", "route"),
    [
        (Standing(Site.IN_SITU), Route.HERE),
        (Standing(Site.IN_TRANSIT), Route.WAIT),
        (Standing(Site.IN_SITU, (0, 2)), Route.WAIT),
    ],
)
def test_what_was_committed_is_remembered_where_the_log_cannot_be_asked(tmp_path, standing, route):
    first = worker(tmp_path)
    assert first.route("pattern", 0, 0) is Route.HERE
    first._note(standing)
    assert worker(tmp_path).route("pattern", 0, 1) is route
    first._note(Standing(Site.IN_SITU))
    assert worker(tmp_path).route("pattern", 0, 2) is Route.HERE, "all is as configured again"


@pytest.mark.parametrize("left", ["transit/moved-0", "transit-0.csv"])
@pytest.mark.parametrize("run", ["run", "another-run"])
def test_a_run_does_not_end_before_the_log_knows_what_an_earlier_life_has_left_undone(tmp_path, left, run):
    """It died as the run ended, within a migration: all is answered, and the engine waits for that migration's end."""
    assert worker(tmp_path).settled, "a first life owes nothing"
    (tmp_path / left).write_text("run")
    assert worker(tmp_path).settled, "without a log nobody waits"
    TransitJob(run, "coupling.yaml", str(tmp_path / "transit")).write()
    again = worker(tmp_path)
    assert again.settled is (run == "another-run")
    again._share = Share()
    assert again.settled


class Ring:
    def __init__(self, newest_step):
        self.newest_step = newest_step


def test_an_earlier_life_may_have_answered_all_that_was_published(tmp_path):
    """What a new life says that it has met, no cut lies before: else that was answered by an older version."""
    assert worker(tmp_path).last_met == -1
    again = worker(tmp_path, [Ring(-1), Ring(6)])
    assert again.last_met == 6
    assert again.met(("pattern", 0)) == -1, "of what this life has seen itself"
    again.route("pattern", 0, 4)
    assert again.last_met == 6
    again.route("pattern", 0, 9)
    assert again.last_met == 9


def test_what_an_earlier_run_in_the_folder_did_does_not_count(tmp_path):
    (tmp_path / "transit").mkdir()
    (tmp_path / "transit" / "moved-0").write_text("another run")
    assert worker(tmp_path).route("pattern", 0, 0) is Route.HERE


class Share:
    """Of a worker that answers nothing itself: everything was answered, so that it rests between looks into the log."""

    moved, resting, settled = True, True, True

    def __init__(self, failing=False):
        self.failing, self.polled, self.taken = failing, 0, []

    def poll(self):
        self.polled += 1
        if self.failing:
            raise LogAway("it is away")

    def hand_over(self, records):
        self.taken += [one.step for one in records]


def frame(step):
    return Frame("pattern", 0, step, np.zeros(2, np.float32))


@pytest.mark.parametrize("away", [False, True])
def test_frames_go_into_the_log_between_two_looks_and_not_while_it_is_away(tmp_path, away):
    one = worker(tmp_path)
    share = one._share = Share(failing=away)
    one.progress()
    one.progress()
    assert share.polled == 1, "it rests"
    assert one.hand_over([(frame(3), 0)]) is not away
    assert share.taken == ([] if away else [3])
