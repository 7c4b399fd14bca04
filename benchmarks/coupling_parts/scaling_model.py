"""The scaling of a coupling on paper: N simulation ranks, M workers, S = N / M rings each (docs/scaling.md).

Costs of single messages come in, measured or given; out come what a step costs, what a worker can do, what waits, what
is dropped, and which resource ends it first. ``scaling_events`` plays the same through, event by event.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace

from scaling_case import Case, Costs, Machine, World

from inference_insitu.books.ledger import FLUSH_NS, MOST_LATENCIES
from inference_insitu.inference.batching import MOST_FRAMES
from inference_insitu.ring.layout import Kind, Layout, SlotGroup

MOST = 1 << 20
NODE = "cores of a node"


def added_s(case: Case, world: World, ranks: int) -> float:
    """What one step with a frame costs a simulation rank that is not made to wait."""
    costs = world.costs
    added = costs.publish_s + case.bytes * costs.copy_s_byte + costs.end_step_s
    if case.placement == "nodes":
        added += costs.send_s + case.bytes * costs.send_s_byte
    return added + costs.steer_s * (ranks > 1)


def look_s(case: Case, costs: Costs, waiting: float, new: float = 0.0) -> float:
    """One pass over the rings while ``waiting`` frames wait, ``new`` of them seen for the first time."""
    ring_s = costs.look_ring_s * case.served
    return costs.look_s + ring_s + costs.look_frame_s * waiting + costs.new_frame_s * new


def answers_s(case: Case, world: World, count: int, waiting: float) -> float:
    """What follows a pass that forms a batch of ``count`` out of ``waiting``."""
    costs = world.costs
    forming = costs.batch_s + costs.batch_ring_s * case.served + costs.batch_frame_s * waiting
    return forming + count * handling_s(case, costs) + world.service(count)


def handling_s(case: Case, costs: Costs) -> float:
    """The worker's own time for one answer."""
    return costs.frame_s + case.bytes * costs.frame_s_byte


def burst_turns(case: Case, world: World) -> list[float]:
    """The worker's turns for one frame of every ring: batches as full as they can be, fewer and fewer waiting."""

    def turn(waiting: int) -> float:
        new = case.served if waiting == case.served else 0
        return look_s(case, world.costs, waiting, new) + answers_s(case, world, min(case.batch.size, waiting), waiting)

    return [turn(waiting) for waiting in range(case.served, 0, -case.batch.size)]


def capacity(case: Case, world: World) -> float:
    """μ: frames a second of one worker that empties every ring before the next frames come."""
    return case.served / max(sum(burst_turns(case, world)), 1e-12)


def full_capacity(case: Case, world: World) -> float:
    """μ of a worker whose rings are all full: more frames wait, so every look takes longer.

    Where newer frames replace those that wait, each of them is looked at, too.
    """
    waiting = case.served * (case.slots if case.placement == "cores" else case.ahead)
    count = min(case.batch.size, waiting)
    replaced = case.placement == "cores" and case.policy.when_full == "latest"
    left = 1 - case.offered * world.costs.new_frame_s if replaced else 1.0
    turn_s = look_s(case, world.costs, waiting, 0 if replaced else count) + answers_s(case, world, count, waiting)
    return max(left, 0.0) * count / max(turn_s, 1e-12)


def loads(case: Case, world: World, ranks: int) -> dict[str, float]:
    """How much of each resource a job of ``ranks`` takes: above 1 it does not keep up, or is not to be had."""
    costs, machine, rate = world.costs, world.machine, case.offered
    whole, rest = divmod(case.served, case.batch.size)
    compute = whole * world.service(case.batch.size) + (world.service(rest) if rest else 0.0)
    found = {"worker compute": rate * compute / case.served}
    found["worker polling"] = max(rate / capacity(case, world) - found["worker compute"], 0.0)
    if case.placement == "nodes":
        found["keeper polling"] = rate * costs.keeper_frame_s + case.served * costs.keeper_ring_s / case.period_s
        found["network"] = machine.keepers_per_node * rate * case.bytes / machine.link_bytes_s
    else:
        found[NODE] = (case.served + 1) / machine.node_cores
    found["steering"] = steering_s(costs, ranks) / case.period_s
    writes = ranks / max(machine.writeback_s, 1e-9 * FLUSH_NS, case.period_s)
    found["file system"] = writes / machine.file_operations_s
    return found


def utilisation(case: Case, world: World, ranks: int) -> float:
    """ρ of the resource that ends first; a worker's own two kinds of work add up."""
    found = loads(case, world, ranks)
    return max(found.pop("worker compute") + found.pop("worker polling"), *found.values())


def saturation(case: Case, world: World) -> float:
    """ρ of what frames queue for: the worker, the keeper, the link."""
    found = loads(case, world, 1)
    worker = found["worker compute"] + found["worker polling"]
    return max(worker, found.get("keeper polling", 0.0), found.get("network", 0.0))


def binding(found: Mapping[str, float]) -> str:
    """The resource that is loaded most; that a node has cores enough is no load."""
    return max(found, key=lambda name: found[name] if name != NODE or found[name] > 1 else 0.0)


def drop_fraction(case: Case, world: World) -> float:
    """Share of the published frames without an answer in a long run."""
    rho = saturation(case, world)
    if rho <= 1:
        return 1 - case.taken
    # A policy that waits slows the simulation down instead, as far as its timeout allows.
    slowed = 1 + waited_s(case, world) / case.period_s
    return 1 - case.taken * min(1.0, slowed * min(full_capacity(case, world) / case.offered, 1 / rho))


def waited_s(case: Case, world: World) -> float:
    """What a policy that waits adds to every step, as long as its timeout allows."""
    if not case.policy.wait_s or saturation(case, world) <= 1:
        return 0.0
    return min(case.policy.wait_s, max(0.0, case.served * case.taken / full_capacity(case, world) - case.period_s))


def latency_s(case: Case, world: World) -> tuple[float, float]:
    """Mean and largest time from publication to answer below saturation, all ranks together (placement ``cores``)."""
    held_s = case.batch.delay_s if case.served < case.batch.size else 0.0
    ended, total, waiting = held_s, 0.0, case.served
    for turn in burst_turns(case, world):
        ended += turn
        total += ended * min(case.batch.size, waiting)
        waiting -= case.batch.size
    return total / case.served, ended


def steering_s(costs: Costs, ranks: int) -> float:
    """How long a maximum over the ranks is under way, in a simulation that communicates meanwhile."""
    return math.ceil(math.log2(ranks)) * costs.round_s if ranks > 1 else 0.0


def largest(fits: Callable[[int], bool], most: int = MOST) -> int:
    """The largest number up to ``most`` that ``fits``, where all smaller ones do; 0 for none."""
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def largest_served(case: Case, world: World) -> int:
    """S*: most rings that one worker keeps up with, as if a node had cores enough."""
    return largest(lambda served: saturation(replace(case, served=served), world) <= 1)


def recovering_served(case: Case, world: World) -> int:
    """Most rings that one worker gets ahead of though all are full, after a pause; below S* where looks count."""

    def recovers(served: int) -> bool:
        one = replace(case, served=served)
        return saturation(one, world) <= 1 and full_capacity(one, world) >= one.offered

    return largest(recovers)


def break_point(case: Case, world: World, workers: int) -> tuple[int, str]:
    """N*: most ranks that ``workers`` workers keep up with, and what ends it."""

    def at(ranks: int) -> Case:
        return replace(case, served=max(1, -(-ranks // workers)))

    most = largest(lambda ranks: utilisation(at(ranks), world, ranks) <= 1)
    return most, binding(loads(at(most + 1), world, most + 1))


def sensitivity(case: Case, world: World, of: Callable[[Case, World], int] = largest_served) -> dict[str, float]:
    """By how much S* (or what else ``of`` finds) grows where a cost is halved; what does not move it is left out."""
    base = of(case, world)
    costs, service = world.costs, world.service
    worlds = {
        each.name: replace(world, costs=replace(costs, **{each.name: getattr(costs, each.name) / 2}))
        for each in fields(Costs)
    }
    worlds["service.batch_s"] = replace(world, service=replace(service, batch_s=service.batch_s / 2))
    worlds["service.frame_s"] = replace(world, service=replace(service, frame_s=service.frame_s / 2))
    grown = {name: of(case, half) for name, half in worlds.items()}
    double = replace(case.batch, size=min(2 * case.batch.size, MOST_FRAMES))
    grown["batch.size doubled"] = of(replace(case, batch=double), world)
    grown["slots"] = of(replace(case, slots=max(1, case.slots // 2)), world)
    grown["bytes"] = of(replace(case, bytes=max(1, case.bytes // 2)), world)
    found = {name: round(value / max(base, 1), 3) for name, value in grown.items()}
    return {name: value for name, value in sorted(found.items(), key=lambda pair: -pair[1]) if value > 1.005}


def ring_bytes(case: Case) -> int:
    """Memory of one ring."""
    return Layout((SlotGroup("frames", Kind.MEMORY, case.slots, case.bytes),)).memory_bytes


def node_bytes(case: Case, machine: Machine) -> int:
    """/dev/shm of a node: its ranks' rings (``cores``), or those that stand for them at its keepers (``nodes``)."""
    if case.placement == "cores":
        return machine.node_cores * ring_bytes(case)
    return machine.keepers_per_node * case.served * ring_bytes(replace(case, slots=case.ahead))


def files(ranks: int, workers: int) -> int:
    """In the run's folder.

    Ledger and events of each rank; task, events, answers and metrics of each worker and its keeper's events;
    configuration, books, steering.
    """
    return 2 * ranks + 5 * workers + 3


def gathered_bytes(ranks: int, answers: int) -> int:
    """What rank 0 receives at the end where each rank has had ``answers`` answers: quantiles, weights and a summary."""
    return ranks * (16 * min(answers, MOST_LATENCIES) + 200)
