"""How a coupling scales: N simulation ranks, M workers, from costs measured here to where it breaks. JSON lines.

    python benchmarks/coupling_scaling.py [--sections '[costs,truth,scaling,break,figure]'] [--seed 0]
                                          [--ranks '[10,100,1000,10000]'] [--served '[8,64,512]']
                                          [--periods '{network: 10, moments: 0.1}'] [--network_s '[0.0,0.13]']

costs     of single messages, measured with the coupling's own parts: publish, end_step, a worker's passes and answers,
          the service time a + b c of a batch (``network_s`` gives it for the shipped network instead), messages between
          two ranks, the relay's calls, ``poll_steering``, files. Always measured; the section prints them. Costs are
          minima, of processor time where something is computed: the machine may be shared.
truth     the model against real runs: 1 to 3 simulation ranks and a keeper under ``mpiexec``, and many rings with a
          real worker. Both numbers are printed. The model is given the period of the real run, which a busy machine
          stretches; a second time also how much longer batches took, and the share of a core that a saturated worker
          had.
scaling   for each (N, M, placement, policy, load): time added to a step, load of each resource and which one binds,
          drops and latencies, on paper and by events. What one node cannot hold is said to be infeasible.
break     most ranks N* that M workers keep up with, what ends it, and by how much S* = N*/M grows where one cost is
          halved; up to how many rings a worker recovers from a backlog.
figure    docs/pictures/scaling.png.

A load is an analysis and the period between two frames of a rank. Frames are the shipped network's patterns, 128 KiB.
"""

import statistics
import sys
import time
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli
from machine import emit, machine

sys.path.insert(0, str(Path(__file__).parent / "coupling_parts"))

import scaling_model as model
from jobs import run_ranks
from scaling_case import Case, Costs, Machine, ServiceTime, World
from scaling_costs import file_costs, service_times, simulation_costs, worker_costs
from scaling_events import STEADY, frames_of, play
from scaling_figure import figure
from scaling_outcome import Outcome
from scaling_truth import NETWORK, asleep, coupled, many_rings

from inference_insitu.inference.batching import BatchConfig
from inference_insitu.ring.policies import PolicyConfig

SIZES = (1 << 12, 1 << 17, 1 << 20, 1 << 23)
PATTERN = (32, 32, 32)
PERIODS = {"network": 10.0, "moments": 0.1}
POLICIES = {
    "latest": PolicyConfig(kind="latest"),
    "drop_newest": PolicyConfig(kind="drop_newest"),
    "block": PolicyConfig(kind="block", timeout_s=60.0),
    "sample": PolicyConfig(kind="sample", every=4),
}
CALLS = 10
"""Steps between two frames."""
STEERING = {"what": "steering", "lags": [1, 2], "steps": 40, "step_s": 0.004}


def main(
    sections: tuple[str, ...] = ("costs", "truth", "scaling", "break", "figure"),
    ranks: tuple[int, ...] = (10, 100, 1000, 10000),
    served: tuple[int, ...] = (8, 64, 512),
    network_s: tuple[float, float] | None = None,
    periods: dict[str, float] = PERIODS,
    seed: int = 0,
) -> None:
    emit(benchmark="coupling_scaling", machine=machine(), seed=seed, given=asdict(Machine()))
    costs, services = measured(network_s, printing="costs" in sections)
    loads = {name: (World(costs, services[name]), period_s) for name, period_s in periods.items()}
    if "truth" in sections:
        truth(costs, services["network"], seed)
    for name, (world, period_s) in loads.items():
        if "scaling" in sections:
            scaling(name, world, period_s, ranks, served, seed)
        if "break" in sections:
            breaks(name, world, period_s, seed)
    if "break" in sections:
        emit(section="break", ranks=max(ranks), **at_the_end(max(ranks), costs))
    if "figure" in sections:
        emit(section="figure", path=str(figure(loads, seed)))


def measured(network_s: tuple[float, float] | None, *, printing: bool) -> tuple[Costs, dict[str, ServiceTime]]:
    """Costs of everything, and service times by analysis."""
    simulation, publishing = simulation_costs(SIZES)
    worker, error = worker_costs()
    given = {"what": "messages", "sizes": SIZES, "relay_sizes": SIZES[:3]}
    between = run_ranks("scaling_ranks.py", 2, given, timeout_s=120)
    steered = {count: run_ranks("scaling_ranks.py", count, STEERING, timeout_s=120) for count in (2, 4)}
    analyses = {"moments": service_times("moments", PATTERN, repeats=20)}
    analyses["network"] = (
        service_times("analyses:Network", PATTERN, repeats=2) if network_s is None else (*network_s, {})
    )
    costs = Costs(**simulation, **worker, **relay_costs(between, publishing), **steering_costs(between, steered))
    if printing:
        emit(section="costs", publish_us_by_bytes=publishing, files_us=file_costs())
        emit(section="costs", worker_fit_median_error=round(error, 3), **microseconds(costs))
        emit(section="costs", messages=between)
        for count, found in steered.items():
            emit(section="costs", ranks=count, steering=found)
        for name, (batch_s, frame_s, seconds) in analyses.items():
            emit(section="costs", analysis=name, batch_s=batch_s, frame_s=frame_s, seconds_by_batch=seconds)
    return costs, {name: ServiceTime(*found[:2]) for name, found in analyses.items()}


def relay_costs(between: dict[str, Any], publishing: dict[int, dict[str, float]]) -> dict[str, float]:
    """What the relay adds to a publication, and a keeper's passes."""
    relay = {int(size): row for size, row in between["relay_us"].items()}
    added = {size: row["publish"]["minimum"] - publishing[size]["publish_us"] for size, row in relay.items()}
    small, large = min(relay), max(relay)
    return {
        "send_s": 1e-6 * max(added[small], 0.0),
        "send_s_byte": 1e-6 * max((added[large] - added[small]) / (large - small), 0.0),
        "keeper_ring_s": 1e-6 * min(row["keeper_ring"]["minimum"] for row in relay.values()),
        "keeper_frame_s": 1e-6 * statistics.median(row["keeper_frame"] for row in relay.values()),
    }


def steering_costs(between: dict[str, Any], steered: dict[int, Any]) -> dict[str, float]:
    """Of a simulation that communicates between its steps; two ranks' maximum is one round."""
    calls = [found["poll_us"]["talks, lag 1"]["minimum"] for found in steered.values()]
    return {"steer_s": 1e-6 * min(calls), "round_s": 1e-6 * between["maximum_us"]["minimum"]}


def microseconds(costs: Costs) -> dict[str, float]:
    """For reading: µs, and ns for what is for each byte."""
    found = {}
    for name, value in asdict(costs).items():
        if name.endswith("_s_byte"):
            found[name.removesuffix("_s_byte") + "_ns_byte"] = round(1e9 * value, 4)
        else:
            found[name.removesuffix("_s") + "_us"] = round(1e6 * value, 3)
    return found


def truth(costs: Costs, network: ServiceTime, seed: int) -> None:
    """Predicted and measured, side by side."""
    one, four = BatchConfig(size=1, delay_s=0.0), BatchConfig(size=4, delay_s=0.005)
    slow, batched = ServiceTime(0.0, 0.02), ServiceTime(0.02, 0.01)
    runs: list[tuple[Case, ServiceTime, int]] = [
        (Case(1, 0.01, policy=POLICIES["latest"], batch=one), slow, 150),
        (Case(2, 0.02, policy=POLICIES["drop_newest"], batch=four), batched, 80),
        (Case(3, 0.01, policy=POLICIES["block"], batch=four), batched, 60),
        (Case(2, 0.03, policy=POLICIES["latest"], batch=four), ServiceTime(0.002, 0.004), 60),
        (Case(1, 0.01, "nodes", policy=POLICIES["latest"], batch=one), slow, 150),
        (Case(3, 0.03, "nodes", policy=POLICIES["drop_newest"], batch=four), batched, 60),
    ]
    for case, service, frames in runs:
        compare("mpiexec", case, costs, service, frames, coupled(case, asleep(service), frames), seed)
    case = Case(1, 0.5 * network(1), policy=POLICIES["block"], batch=BatchConfig(size=4, delay_s=0.0))
    frames = max(12, min(40, round(6 / network(1))))
    compare("mpiexec, network", case, costs, network, frames, coupled(case, NETWORK, frames), seed)
    for rings in (64, 256):
        batch = BatchConfig(size=8, delay_s=0.002)
        case, nothing = Case(rings, 0.05, bytes=1 << 12, batch=batch), ServiceTime()
        compare("many rings", case, costs, nothing, 30, many_rings(case, asleep(nothing), 30), seed)


def compare(
    how: str, case: Case, costs: Costs, service: ServiceTime, frames: int, real: dict[str, Any], seed: int
) -> None:
    """One line. ``predicted_as_it_was``: with batches as long as they were, and a busy worker's share of a core."""
    as_it_was = replace(case, period_s=real["period_s"])

    def predicted(world: World) -> dict[str, Any]:
        out = play(as_it_was, world, frames=frames, seed=seed)
        return {
            "throughput": rounded(out.throughput),
            "drop_fraction": rounded(out.dropped / out.published),
            "latency_p50_s": rounded(out.latency(50)),
        }

    answered, published = real["fates"].get("inferred", 0), real["published"]
    further: dict[str, Any] = {key: rounded(real[key]) for key in ("attach_s", "close_s") if key in real}
    share = real.get("worker_core_share", 1.0) if answered < published else 1.0
    expected_s = sum(service(size) for size, _ in real["batches"])
    stretch = sum(seconds for _, seconds in real["batches"]) / expected_s if expected_s else 1.0
    then = ServiceTime(service.batch_s * stretch, service.frame_s * stretch)
    if how.startswith("mpiexec"):
        further["files"] = {"predicted": model.files(case.served, 1), "measured": real["files"]}
    emit(
        section="truth",
        how=how,
        ranks=case.served,
        placement=case.placement,
        policy=case.policy.kind,
        frames=published,
        period_s={"asked": case.period_s, "was": rounded(real["period_s"])},
        batches_took=rounded(stretch),
        worker_core_share=rounded(share),
        predicted=predicted(World(costs, service)),
        predicted_as_it_was=predicted(World(slowed(costs, max(share, 0.01)), then)),
        measured={
            "throughput": rounded(real["throughput"]),
            "drop_fraction": rounded(1 - answered / published),
            "latency_p50_s": rounded(real["latency_s"][0]) if real["latency_s"] else None,
        },
        **further,
    )


def slowed(costs: Costs, share: float) -> Costs:
    """The same worker on a part of a core."""
    own = ("look", "new_frame", "batch", "frame")
    return replace(costs, **{name: value / share for name, value in asdict(costs).items() if name.startswith(own)})


@cache
def played(case: Case, world: World, seed: int) -> Outcome:
    """Events of a case until it is steady."""
    if case.policy.wait_s:
        return play(case, world, frames=30 if case.served <= 128 else 8, seed=seed, counted=(0.7, 1.0))
    frames = frames_of(case) * case.policy.takes_one_in
    return play(case, world, frames=frames, seed=seed, counted=STEADY)


def scaling(
    load: str, world: World, period_s: float, ranks: tuple[int, ...], served: tuple[int, ...], seed: int
) -> None:
    """One line for every (N, M, placement, policy)."""
    for total in ranks:
        for workers in sorted({max(1, -(-total // each)) for each in served}):
            for placement in ("cores", "nodes"):
                for name, policy in POLICIES.items():
                    case = Case(-(-total // workers), period_s, placement, policy, calls=CALLS)
                    asked = {"load": load, "period_s": period_s, "ranks": total, "workers": workers}
                    chosen = {"served": case.served, "placement": placement, "policy": name}
                    emit(section="scaling", **asked, **chosen, **figures(case, world, total, seed))


def figures(case: Case, world: World, ranks: int, seed: int) -> dict[str, Any]:
    """What the model says of one case."""
    loads = model.loads(case, world, ranks)
    paper = {"drop_fraction": model.drop_fraction(case, world), "waited_s": model.waited_s(case, world)}
    found: dict[str, Any] = {
        "added_us": round(1e6 * model.added_s(case, world, ranks), 1),
        "loads": {name: rounded(value) for name, value in loads.items()},
        "utilisation": rounded(model.utilisation(case, world, ranks)),
        "binding": model.binding(loads),
        "node_shm_MiB": round(model.node_bytes(case, world.machine) / 2**20, 1),
        "on_paper": {name: rounded(value) for name, value in paper.items()},
    }
    if loads.get("cores of a node", 0.0) > 1:
        return found | {"infeasible": f"a node has {world.machine.node_cores} cores"}
    out = played(case, world, seed)
    return found | {
        "drop_fraction": rounded(out.drop_fraction),
        "waited_s": rounded(statistics.fmean(out.waited_s)) if out.waited_s else 0.0,
        "latency_s": {f"p{percent}": rounded(out.latency(percent)) for percent in (50, 99)},
        "busy": {"worker compute": rounded(out.compute), "worker polling": rounded(out.polling)},
    }


def breaks(load: str, world: World, period_s: float, seed: int) -> None:
    """Where it ends, what ends it, and what moves that; by events, what is dropped on either side of it."""
    for placement in ("cores", "nodes"):
        case = Case(1, period_s, placement, POLICIES["drop_newest"], calls=CALLS)
        served = model.largest_served(case, world)
        sides = {share: replace(case, served=max(1, round(share * served))) for share in (0.8, 1.5) if served <= 400}
        dropped = {f"{share} S*": rounded(played(one, world, seed).drop_fraction) for share, one in sides.items()}
        emit(
            section="break", load=load, period_s=period_s, placement=placement, served=served, drop_fraction=dropped,
            served_recovering=model.recovering_served(case, world),
            ranks_by_workers={workers: model.break_point(case, world, workers) for workers in (1, 16, 128, 1024)},
            grows_where_halved=model.sensitivity(case, world),
            recovering_grows=model.sensitivity(case, world, model.recovering_served),
        )  # fmt: skip


def at_the_end(ranks: int, costs: Costs) -> dict[str, Any]:
    """What grows with N alone."""
    count = model.files(ranks, -(-ranks // 64))
    return {
        "files": count,
        "creating_s": round(count / Machine().file_operations_s, 2),
        "gathered_MiB_by_answers": {each: round(model.gathered_bytes(ranks, each) / 2**20) for each in (100, 10_000)},
        "maximum_us": round(1e6 * model.steering_s(costs, ranks), 1),
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


if __name__ == "__main__":
    began = time.monotonic()
    auto_cli(main)
    emit(seconds=round(time.monotonic() - began, 1))
