"""The scaling model (``benchmarks/coupling_scaling.py``): its books, queueing theory, paper against events."""

import sys
from dataclasses import fields, replace
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "coupling_parts"))

import scaling_model as model
from scaling_case import Case, Costs, Machine, ServiceTime, World
from scaling_events import play

from inference_insitu.books.outcomes import OUTCOMES
from inference_insitu.inference.batching import BatchConfig
from inference_insitu.ring.layout import Kind, Layout, SlotGroup
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.region import Region

NOTHING = Costs()
COSTS = Costs(
    publish_s=1e-5,
    copy_s_byte=5e-11,
    end_step_s=2e-5,
    look_s=1e-4,
    look_ring_s=4e-6,
    look_frame_s=6e-6,
    new_frame_s=2e-5,
    batch_s=1e-4,
    batch_ring_s=1e-6,
    batch_frame_s=5e-6,
    frame_s=8e-5,
    frame_s_byte=1e-10,
    send_s=1e-4,
    send_s_byte=1e-10,
    keeper_ring_s=2e-5,
    keeper_frame_s=1.5e-4,
    steer_s=1e-4,
    round_s=5e-6,
)
LIGHT = World(COSTS, ServiceTime(0.0, 1e-4))
HEAVY = World(COSTS, ServiceTime(0.01, 0.02))
KINDS = ("latest", "drop_newest", "degrade", "spill", "block", "sample")
AT_ONCE = BatchConfig(size=1, delay_s=0.0)


def policy(kind: str) -> PolicyConfig:
    return PolicyConfig(kind=kind, timeout_s=0.05, every=3, spill_bytes=1 << 18)


@pytest.mark.parametrize("arrivals", ["together", "apart", "poisson"])
@pytest.mark.parametrize("placement", ["cores", "nodes"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_published_frame_is_answered_or_dropped(kind, placement, arrivals):
    case = Case(5, 0.05, placement, policy(kind), slots=2, arrivals=arrivals, batch=BatchConfig(size=4, delay_s=0.002))
    out = play(case, HEAVY, frames=30, seed=1)
    assert out.published == 5 * 30 == out.inferred + out.dropped
    assert set(out.fates) <= set(OUTCOMES)
    assert out.dropped > 0  # it was more than one worker answers
    assert len(out.latency_s) == out.counted["inferred"]
    assert out.compute + out.polling <= 1 + 1e-9


@pytest.mark.parametrize("arrivals", ["together", "apart", "poisson"])
@pytest.mark.parametrize("placement", ["cores", "nodes"])
def test_frames_in_the_system_are_rate_times_time_in_it(placement, arrivals):
    """Little: the integral over time of what is in the system is the sum over frames of their times in it."""
    case = Case(6, 0.4, placement, policy("drop_newest"), slots=50, arrivals=arrivals)
    out = play(case, HEAVY, frames=40, seed=2, counted=(0.0, 1.0))
    assert out.dropped == 0
    assert out.frames_s == pytest.approx(sum(out.latency_s), rel=1e-9)


@pytest.mark.parametrize("ranks", [1, 5])
@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_poisson_arrivals_one_by_one_wait_as_in_m_d_1(rho, ranks):
    """Pollaczek and Khinchine: W = D + ρ D / (2 (1 - ρ)), one rank or several, whose sum is Poisson again."""
    service_s = 0.01
    case = Case(
        ranks, ranks * service_s / rho, policy=policy("drop_newest"), slots=1000, batch=AT_ONCE, arrivals="poisson"
    )
    out = play(case, World(NOTHING, ServiceTime(0.0, service_s)), frames=12000 // ranks, seed=3, counted=(0.05, 0.95))
    expected_s = service_s * (1 + rho / (2 * (1 - rho)))
    assert np.mean(out.latency_s) == pytest.approx(expected_s, rel=0.05)
    assert out.compute == pytest.approx(rho, rel=0.05)


def test_a_lone_rank_by_its_clock_waits_for_the_service_alone():
    case = Case(1, 0.05, policy=policy("drop_newest"), batch=AT_ONCE, arrivals="apart")
    out = play(case, World(NOTHING, ServiceTime(0.01, 0.02)), frames=50, seed=0)
    assert out.latency_s == pytest.approx([0.03] * len(out.latency_s))


@pytest.mark.parametrize("served", [1, 7, 8, 9, 40])
def test_a_burst_takes_as_long_by_events_as_on_paper(served):
    quiet = World(replace(COSTS, look_s=0.0, publish_s=0.0, copy_s_byte=0.0), ServiceTime(0.01, 0.02))
    case = Case(served, 10.0, policy=policy("drop_newest"), jitter=0.0, batch=BatchConfig(size=8, delay_s=0.0))
    out = play(case, quiet, frames=10, seed=4)
    mean_s, largest_s = model.latency_s(case, quiet)
    assert np.mean(out.latency_s) == pytest.approx(mean_s, rel=0.01)
    assert max(out.latency_s) == pytest.approx(largest_s, rel=1e-6)


@pytest.mark.parametrize("world", [LIGHT, HEAVY], ids=["light", "heavy"])
@pytest.mark.parametrize("placement", ["cores", "nodes"])
@pytest.mark.parametrize("kind", ["latest", "drop_newest"])
def test_what_is_dropped_above_saturation_by_events_and_on_paper(kind, placement, world):
    case = Case(1, 0.05 if world is LIGHT else 1.0, placement, policy(kind), calls=10)
    case = replace(case, served=2 * model.largest_served(case, world))
    out = play(case, world, frames=40, seed=5, counted=(0.4, 0.8))
    assert out.drop_fraction == pytest.approx(model.drop_fraction(case, world), abs=0.06)
    assert out.compute + out.polling > 0.9


def test_a_policy_that_waits_stretches_the_step_by_what_is_missing():
    case = Case(60, 1.0, policy=PolicyConfig(kind="block", timeout_s=60.0), calls=10)
    out = play(case, HEAVY, frames=25, seed=6, counted=(0.7, 1.0))
    assert out.dropped == 0
    assert model.waited_s(case, HEAVY) > 0.1
    assert np.mean(out.waited_s) == pytest.approx(model.waited_s(case, HEAVY), rel=0.1)


def test_a_policy_that_waits_too_short_drops_the_rest():
    case = Case(100, 1.0, policy=PolicyConfig(kind="block", timeout_s=0.5), calls=10)
    out = play(case, HEAVY, frames=25, seed=6, counted=(0.5, 0.8))
    assert model.waited_s(case, HEAVY) == 0.5
    assert out.drop_fraction == pytest.approx(model.drop_fraction(case, HEAVY), abs=0.06)
    assert out.counted["timeout"] > 0


def test_latest_answers_fresher_frames_than_drop_newest():
    case = Case(80, 1.0, policy=policy("latest"))
    fresh, stale = (
        play(replace(case, policy=policy(kind)), HEAVY, frames=20, seed=7) for kind in ("latest", "drop_newest")
    )
    assert fresh.latency(50) < stale.latency(50)


def test_a_worker_between_its_two_limits_keeps_up_until_it_has_once_fallen_behind():
    """Full rings make every look longer: beyond the recovering point a backlog stays, below it is worked off."""
    case = Case(1, 0.1, policy=policy("drop_newest"))
    recovering, most = model.recovering_served(case, LIGHT), model.largest_served(case, LIGHT)
    assert recovering < 0.8 * most

    def dropped(served: int, backlog: int) -> float:
        one = replace(case, served=served)
        return play(one, LIGHT, frames=30, seed=11, counted=(0.6, 1.0), backlog=backlog).drop_fraction

    between = (recovering + most) // 2
    assert dropped(between, 0) == 0 < dropped(between, case.slots)
    assert dropped(round(0.8 * recovering), case.slots) == 0


def test_a_backlog_is_published_too():
    case = Case(3, 0.05, policy=policy("latest"), slots=4)
    out = play(case, HEAVY, frames=10, seed=12, backlog=9)
    assert out.published == 3 * (10 + 4) == out.inferred + out.dropped


@pytest.mark.parametrize("placement", ["cores", "nodes"])
def test_more_ranks_are_never_better(placement):
    case = Case(1, 0.05, placement, policy("drop_newest"), calls=10)
    served = [4, 16, 64, 128, 256]
    outs = [play(replace(case, served=each), LIGHT, frames=20, seed=8) for each in served]
    dropped = [out.drop_fraction for out in outs]
    assert dropped == sorted(dropped)
    assert dropped[0] == 0 < dropped[-1]
    paper = [model.drop_fraction(replace(case, served=each), LIGHT) for each in served]
    assert paper == sorted(paper)
    rho = [model.saturation(replace(case, served=each), LIGHT) for each in served]
    assert rho == sorted(rho)


@pytest.mark.parametrize("placement", ["cores", "nodes"])
@pytest.mark.parametrize("world", [LIGHT, HEAVY], ids=["light", "heavy"])
def test_the_break_point_parts_what_is_kept_up_with_from_what_is_not(world, placement):
    case = Case(1, 0.1, placement, policy("drop_newest"))
    found = [model.break_point(case, world, workers) for workers in (1, 4, 16, 64)]
    for workers, (ranks, what) in zip((1, 4, 16, 64), found, strict=True):
        kept, beyond = (replace(case, served=-(-each // workers)) for each in (max(ranks, 1), ranks + 1))
        assert ranks == 0 or model.utilisation(kept, world, ranks) <= 1
        assert model.utilisation(beyond, world, ranks + 1) > 1
        assert what in model.loads(beyond, world, ranks + 1)
    assert [ranks for ranks, _ in found] == sorted(ranks for ranks, _ in found)


def test_a_cost_that_is_halved_never_brings_the_break_point_down():
    case = Case(1, 0.1, "nodes", policy("drop_newest"))
    base = model.largest_served(case, LIGHT)
    for each in fields(Costs):
        half = replace(LIGHT, costs=replace(COSTS, **{each.name: getattr(COSTS, each.name) / 2}))
        assert model.largest_served(case, half) >= base
    assert all(grown > 1 for grown in model.sensitivity(case, LIGHT).values())


def test_the_slow_network_is_moved_by_its_own_time_alone():
    moved = model.sensitivity(Case(1, 10.0), World(COSTS, ServiceTime(0.0, 0.13)))
    assert moved["service.frame_s"] == pytest.approx(2, rel=0.05)
    assert all(grown < 1.05 for name, grown in moved.items() if name != "service.frame_s")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"machine": Machine(link_bytes_s=1e6)}, "network"),
        ({"machine": Machine(file_operations_s=1.0)}, "file system"),
        ({"machine": Machine(node_cores=4)}, "cores of a node"),
        ({"costs": replace(COSTS, round_s=1.0)}, "steering"),
        ({"costs": replace(COSTS, look_ring_s=0.1)}, "worker polling"),
        ({"costs": replace(COSTS, keeper_frame_s=1.0)}, "keeper polling"),
        ({"service": ServiceTime(0.0, 5.0)}, "worker compute"),
    ],
)
def test_the_scarcest_resource_is_named(change, what):
    placement = "nodes" if what in ("network", "keeper polling") else "cores"
    case = Case(16, 1.0, placement, policy("drop_newest"))
    assert model.binding(model.loads(case, replace(LIGHT, **change), 160)) == what


def test_a_rank_pays_for_its_bytes_and_for_what_it_takes_part_in():
    case = Case(8, 1.0)
    assert model.added_s(replace(case, bytes=1 << 23), LIGHT, 8) > model.added_s(case, LIGHT, 8)
    assert model.added_s(replace(case, placement="nodes"), LIGHT, 8) > model.added_s(case, LIGHT, 8)
    assert model.added_s(case, LIGHT, 8) == model.added_s(case, LIGHT, 8000) > model.added_s(case, LIGHT, 1)
    assert model.steering_s(COSTS, 1024) == pytest.approx(10 * COSTS.round_s)


def test_a_ring_takes_the_memory_that_the_model_says(tmp_path):
    case = Case(1, 1.0, bytes=5000, slots=3)
    layout = Layout((SlotGroup("frames", Kind.MEMORY, 3, 5000),))
    Region.create(layout, rank=0, path=tmp_path / "ring")
    assert (tmp_path / "ring").stat().st_size == model.ring_bytes(case)


def test_a_seed_gives_the_same_run_and_another_one_another():
    case = Case(6, 0.05, policy=policy("latest"))
    one, same, other = (play(case, HEAVY, frames=20, seed=seed) for seed in (9, 9, 10))
    assert one == same
    assert one.latency_s != other.latency_s


@pytest.mark.parametrize("limit", [0, 1, 2, 63, 64, 65, 1000])
def test_largest_finds_the_last_that_fits(limit):
    assert model.largest(lambda number: number <= limit, most=1000) == limit


@pytest.mark.parametrize("value", [-1e-6, nan, inf])
def test_costs_must_be_times(value):
    with pytest.raises(ValueError, match="look_s must be at least 0 and finite"):
        Costs(look_s=value)


def test_a_case_must_have_ranks_and_a_period():
    with pytest.raises(ValueError, match="at least 1"):
        Case(0, 1.0)
    with pytest.raises(ValueError, match="period_s must be positive"):
        Case(1, 0.0)
