"""A worker that is started anew while the log is away does not answer what others are to answer."""

import pytest

from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.migration.config import MigrationConfig
from inference_insitu.transit.migration.moving_worker import MovingWorker
from inference_insitu.transit.migration.protocol import Site
from inference_insitu.watching.events import EventLog


def worker(folder):
    (folder / "transit").mkdir(exist_ok=True)
    given = {"worker": 0, "workers": 1, "config": MigrationConfig(), "take": None, "heed": None}
    return MovingWorker(folder, "run", [], {}, {}, **given, events=EventLog(None, "test"))


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


def test_what_an_earlier_run_in_the_folder_did_does_not_count(tmp_path):
    (tmp_path / "transit").mkdir()
    (tmp_path / "transit" / "moved-0").write_text("another run")
    assert worker(tmp_path).route("pattern", 0, 0) is Route.HERE
