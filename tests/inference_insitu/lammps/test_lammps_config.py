"""Configuration: one clear line for each mistake; the shipped examples read strictly and make a coupling."""

from pathlib import Path

import pytest

from cdi.config import read_config, write_config
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.lammps.config import InsituConfig, ScheduleConfig
from inference_insitu.lammps.coupled import check_steering, coupling_config, least_ranks, variables
from inference_insitu.lammps.schedule import Schedule

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("insitu*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_read_strictly_and_end_with_a_pattern(path):
    config = read_config(InsituConfig, path)
    assert config.coupling.couples(config.load.steps)
    check_steering(config)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_run_is_a_coupling_that_its_file_says_in_full(path, tmp_path):
    """What the worker reads back is what the ranks agreed on."""
    config = read_config(InsituConfig, path)
    coupled = coupling_config(config)
    coupled.check_variables(variables(config))
    write_config(coupled, tmp_path / "coupling.yaml")
    assert read_config(CouplingConfig, tmp_path / "coupling.yaml") == coupled


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
        ("coupling.queue=1", r"queue must lie in \[2, 4096\], got 1"),
        ("pattern.reflection=[1,0,0]", "reflection must be allowed in fcc"),
        ("pattern.shape=[32,32,31]", "shape must be even numbers of voxels from 8 to 256"),
        ("pattern.oversampling=1.5", r"oversampling must lie in \[2, 20\], got 1.5"),
        ("pattern.peak_counts=0", "peak_counts must be positive and finite"),
        ("pattern.energy_keV=0.1", "energy_keV must lie in"),
        ("inference.model=''", "model must be a checkpoint's name or path"),
        ("inference.ranks=1", "unknown key 'inference.ranks'"),
        ("placement.ranks=2", "placement.ranks must be 1, got 2"),
        ("placement.threads=0", "threads must lie in"),
        ("placement.kind=core", "kind"),
        ("policy.kind=newest", "kind"),
        ("on_inference_failure.action=pray", "action"),
        ("steering.lag=-1", "lag must lie in"),
        ("truth.minimum_length_A=0", "minimum_length_A must be positive and finite"),
        ("coupling.evry=3", "unknown key 'coupling.evry'; did you mean 'coupling.every'?"),
    ],
)
def test_a_mistake_is_one_clear_line(override, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_config(InsituConfig, None, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steering.rules=[{when: 'count > 0', then: stp}]", "no command 'stp'; did you mean 'stop'"),
        ("steering.rules=[{when: 'count > 0', then: rate, value: 9}]", r"'rate' must lie in \[-8, 8\] A/ps, got 9"),
        ("steering.rules=[{when: 'count > 0', then: interval, value: 2.5}]", "'interval' must be a whole number"),
        ("steering.bounds=[{name: snapshot, minimum: 1}]", "bounds of 'snapshot' must not hold"),
    ],
)
def test_what_cannot_be_asked_for_is_told_before_the_run(override, message):
    with pytest.raises(ValueError, match=message):
        check_steering(read_config(InsituConfig, None, [override]))


@pytest.mark.parametrize(("kind", "ranks"), [("cores", 2), ("nodes", 2), ("process", 1), ("job", 1)])
def test_ranks_that_a_run_needs(kind, ranks):
    assert least_ranks(read_config(InsituConfig, None, [f"placement.kind={kind}"])) == ranks


def stops(schedule):
    found = [0]
    while found[-1] < schedule.steps:
        found.append(schedule.next_stop(found[-1]))
    return found


def test_patterns_are_denser_within_the_window():
    schedule = Schedule(ScheduleConfig(every=10, window=(14, 19), window_every=2), 32)
    assert [step for step in range(33) if schedule.due(step)] == [0, 10, 14, 16, 18, 20, 30]


def test_the_simulation_stops_at_looks_patterns_and_the_end():
    schedule = Schedule(ScheduleConfig(every=10, window=(14, 19), window_every=2, poll_every=4), 23)
    assert stops(schedule) == [0, 4, 8, 10, 12, 14, 16, 18, 20, 23]


def test_an_interval_that_is_asked_for_counts_from_where_it_was():
    schedule = Schedule(ScheduleConfig(every=10, window=(14, 19), window_every=2, poll_every=100), 40)
    schedule.ask(6, since=13)
    assert [step for step in range(13, 41) if schedule.due(step)] == [13, 19, 25, 31, 37]
    assert schedule.next_stop(37) == 40
