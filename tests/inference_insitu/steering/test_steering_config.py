"""Steering as a user writes it."""

import subprocess
import sys
from dataclasses import dataclass, field

import pytest
import yaml

from cdi.config import read_config, to_dict
from inference_insitu.steering.commands import Commands, CommandSpec
from inference_insitu.steering.config import SteeringConfig
from inference_insitu.steering.rules import RuleConfig, Rules


@dataclass(frozen=True)
class Coupling:
    steering: SteeringConfig = field(default_factory=SteeringConfig)


TEXT = """
steering:
  lag: 2
  rules:
  - when: "count > 0 and confidence >= 0.9"
    then: interval
    value: 10
    once: true
  - {when: dislocated, then: snapshot, edge: true, hold: 3, cooldown_steps: 500, stream: bragg}
  bounds:
  - {name: rate, minimum: -0.5, maximum: 2}
"""


def test_yaml_is_read_typed_and_back(tmp_path):
    (tmp_path / "run.yaml").write_text(TEXT)
    config = read_config(Coupling, tmp_path / "run.yaml")
    assert config.steering == SteeringConfig(
        lag=2,
        rules=(
            RuleConfig("count > 0 and confidence >= 0.9", "interval", 10, once=True),
            RuleConfig("dislocated", "snapshot", edge=True, hold=3, cooldown_steps=500, stream="bragg"),
        ),
        bounds=(CommandSpec("rate", -0.5, 2),),
    )
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(to_dict(config)))
    assert read_config(Coupling, tmp_path / "resolved.yaml") == config
    Rules(config.steering.rules, Commands(bounds=config.steering.bounds))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("lag=-1", r"lag must lie in \[0, 1000\], got -1"),
        ("timeout_s=0", r"timeout_s must lie in \(0, 86400\], got 0"),
        ("timeout_s=.nan", "timeout_s must lie in"),
        ("replay=''", "replay must be the path"),
        ("rules=[{when: 'open(1) > 2', then: stop}]", "when must hold a name, a number or a string there, got Call"),
        ("rules=[{when: 'a > 2', then: stop, hodl: 3}]", "hodl"),
        ("rules=[{when: 'a > 2'}]", "then"),
        ("bounds=[{name: rate, minimum: 3, maximum: 1}]", "minimum of 'rate' must be at most its maximum 1, got 3"),
        ("bounds=[{name: stop}, {name: stop}]", "bounds must name each command once, got 'stop' twice"),
    ],
)
def test_what_is_wrong_is_one_line(override, line):
    with pytest.raises(ValueError, match=line) as error:
        read_config(Coupling, None, [f"steering.{override}"])
    assert "\n" not in str(error.value)


def test_steering_needs_neither_mpi_nor_torch():
    code = (
        "import sys, inference_insitu.steering.agreement, inference_insitu.steering.replay, "
        "inference_insitu.steering.config\nprint([m for m in ('torch', 'mpi4py', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
