"""Rules ask for a migration once their condition has held for long enough."""

import pytest

from inference_insitu.transit.migration.config import MigrationConfig, MigrationRule
from inference_insitu.transit.migration.protocol import Site
from inference_insitu.transit.migration.rules import Rules

QUIET = {"queue": 0, "oldest_s": 0.0, "late": 0, "memory_mb": 100.0, "in_log": 0}
BUSY = QUIET | {"queue": 5}
OUT = MigrationRule("queue >= 3", Site.IN_TRANSIT, for_s=1.0, pause_s=10.0)
BACK = MigrationRule("queue == 0 and in_log == 0", Site.IN_SITU, for_s=2.0, pause_s=10.0)


def test_a_rule_fires_once_it_has_held_for_long_enough():
    rules = Rules([OUT])
    assert rules.fired(BUSY, Site.IN_SITU, 0.0) is None
    assert rules.fired(BUSY, Site.IN_SITU, 0.9) is None
    assert rules.fired(BUSY, Site.IN_SITU, 1.0) == OUT


def test_a_moment_of_quiet_begins_the_time_anew():
    rules = Rules([OUT])
    rules.fired(BUSY, Site.IN_SITU, 0.0)
    rules.fired(QUIET, Site.IN_SITU, 0.5)
    assert rules.fired(BUSY, Site.IN_SITU, 1.2) is None
    assert rules.fired(BUSY, Site.IN_SITU, 2.2) == OUT


def test_a_rule_leads_away_from_where_frames_are_answered_and_pauses():
    rules = Rules([OUT, BACK])
    rules.fired(BUSY, Site.IN_SITU, 0.0)
    assert rules.fired(BUSY, Site.IN_SITU, 1.0) == OUT
    assert rules.fired(BUSY, Site.IN_TRANSIT, 5.0) is None
    rules.fired(QUIET, Site.IN_TRANSIT, 6.0)
    assert rules.fired(QUIET, Site.IN_TRANSIT, 8.5) is None, "ten seconds have not passed since the last one"
    assert rules.fired(QUIET, Site.IN_TRANSIT, 11.0) == BACK


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"when": "queu > 1", "to": Site.IN_SITU},
            "when must ask for queue, oldest_s, late, memory_mb, in_log, got 'queu'",
        ),
        ({"when": "queue > 1", "to": Site.IN_SITU, "for_s": -1.0}, "for_s must be at least 0, got -1.0"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        MigrationRule(**values)


def test_without_rules_nothing_is_asked():
    assert not Rules(MigrationConfig().rules)
