"""Configuration: one clear line for each mistake; the shipped examples read strictly."""

from pathlib import Path

import pytest

from cdi.config import read_config
from inference_insitu.config import CouplingConfig, InsituConfig
from inference_insitu.simulation import next_stop

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("insitu*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_read_strictly(path):
    config = read_config(InsituConfig, path)
    assert list(config.coupling.coupling_steps(config.load.steps))[-1] == config.load.steps


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("crystal.element=Xx", "element must be one of"),
        ("crystal.radius_A=2", r"radius_A must lie in \[6, 500\] Å, got 2"),
        ("crystal.axis=[0,0,0]", "axis must be a direction other than 0 0 0"),
        ("load.steps=0", r"steps must lie in \[1, 1e9\], got 0"),
        ("load.timestep_ps=0.5", "timestep_ps must be at most 0.01 ps, got 0.5"),
        ("load.timestep_ps=.nan", "timestep_ps must be positive and finite"),
        ("load.seed=0", "seed must lie in"),
        ("load.temperature_K=-3", "temperature_K must be positive and finite, got -3"),
        ("coupling.every=0", "every must be at least 1, got 0"),
        ("coupling.window=[9,3]", "window must be two steps with first < last"),
        ("coupling.window=[5000,6000]", "window must begin within the 3000 steps"),
        ("coupling.silence_timeout_s=6", "silence_timeout_s must be at least three times heartbeat_s"),
        ("pattern.reflection=[1,0,0]", "reflection must be allowed in fcc"),
        ("pattern.shape=[32,32,31]", "shape must be even numbers of voxels from 8 to 256"),
        ("pattern.oversampling=1.5", r"oversampling must lie in \[2, 20\], got 1.5"),
        ("pattern.peak_counts=0", "peak_counts must be positive and finite"),
        ("pattern.energy_keV=0.1", "energy_keV must lie in"),
        ("inference.ranks=0", "ranks must be at least 1, got 0"),
        ("inference.threads=0", "threads must lie in"),
        ("truth.minimum_length_A=0", "minimum_length_A must be positive and finite"),
        ("coupling.evry=3", "unknown key 'coupling.evry'; did you mean 'coupling.every'?"),
    ],
)
def test_a_mistake_is_one_clear_line(override, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_config(InsituConfig, None, [override])
    assert "\n" not in str(caught.value)


def test_patterns_are_denser_within_the_window():
    coupling = CouplingConfig(every=10, window=(14, 19), window_every=2)
    assert list(coupling.coupling_steps(32)) == [0, 10, 14, 16, 18, 20, 30]


def test_the_simulation_stops_at_polls_patterns_and_the_end():
    coupling = CouplingConfig(every=10, window=(14, 19), window_every=2, poll_every=4)
    stops = [0]
    while stops[-1] < 23:
        stops.append(next_stop(stops[-1], 23, coupling))
    assert stops == [0, 4, 8, 10, 14, 16, 18, 20, 23]
