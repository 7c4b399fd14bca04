"""Rules ask for a migration once their condition has held for long enough."""

import re
from pathlib import Path

import pytest
import yaml

from cdi.config import read_config, write_config
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.transit.migration.config import MigrationConfig, MigrationRule
from inference_insitu.transit.migration.protocol import Site
from inference_insitu.transit.migration.rules import Rules

ROOT = Path(__file__).parents[4]
QUIET = {"queue": 0, "oldest_s": 0.0, "late": 0, "memory_mb": 100.0, "in_log": 0}
BUSY = QUIET | {"queue": 5}
OUT = MigrationRule("queue >= 3", "in_transit", for_s=1.0, pause_s=10.0)
BACK = MigrationRule("queue == 0 and in_log == 0", "in_situ", for_s=2.0, pause_s=10.0)


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
            {"when": "queu > 1", "to": "in_situ"},
            "when must ask for queue, oldest_s, late, memory_mb, in_log, got 'queu'",
        ),
        ({"when": "queue > 1", "to": "in_situ", "for_s": -1.0}, "for_s must be at least 0, got -1.0"),
        ({"when": "queue > 1", "to": "away"}, "to must be one of in_situ, in_transit, got 'away'"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        MigrationRule(**values)


def test_the_guide_s_rules_are_read_and_kept_as_they_stand(tmp_path):
    """The part of a configuration that docs/migration.md shows."""
    guide = (ROOT / "docs/migration.md").read_text()
    (shown,) = re.findall(r"```yaml\n(migration:.*?)```", guide, re.S)
    told = yaml.safe_load(shown) | {"streams": {"a": {"analysis": "b"}}, "analyses": {"b": {"plugin": "moments"}}}
    (tmp_path / "told.yaml").write_text(yaml.safe_dump(told))
    config = read_config(CouplingConfig, tmp_path / "told.yaml")
    assert [(rule.when, rule.to, rule.for_s) for rule in config.migration.rules] == [
        (one["when"], one["to"], one["for_s"]) for one in told["migration"]["rules"]
    ]
    write_config(config, tmp_path / "kept.yaml")
    assert read_config(CouplingConfig, tmp_path / "kept.yaml") == config


def test_without_rules_nothing_is_asked():
    assert not Rules(MigrationConfig().rules)
