"""``attach``: from an MPI simulation's communicator to its coupling, in one call."""

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cdi.config import read_config, write_config
from inference_insitu.books.ledger import Ledger, ledger_name
from inference_insitu.coupling import Coupling, InferenceFailedError, Parts
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.frame import Variable
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.placement import carrier as carriers
from inference_insitu.placement import sst
from inference_insitu.placement.joined import CONFIG, Joined, supervisor_of, sweep
from inference_insitu.placement.keeper import keep
from inference_insitu.placement.plan import RingPlan, ranks_with_rings, ring_plan
from inference_insitu.placement.roles import assign
from inference_insitu.ring.filling import FillingProducer
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.region import Region
from inference_insitu.sharing.holding import begin
from inference_insitu.steering.agreement import Steering
from inference_insitu.steering.commands import CommandSpec
from inference_insitu.steering.referee import Veto
from inference_insitu.waiting import AGREE_TIMEOUT_S, wait_until
from inference_insitu.watching.events import EventLog
from inference_insitu.watching.machine import machine_facts

if TYPE_CHECKING:
    from mpi4py import MPI

    from inference_insitu.placement.mpi import SteeringCollective


def attach(
    comm: "MPI.Intracomm",
    config: CouplingConfig | str | Path,
    *,
    variables: Mapping[str, Variable],
    output: str | Path,
    commands: Sequence[CommandSpec] = (),
    veto: Veto | None = None,
) -> Coupling:
    """Couple the simulation on ``comm`` to inference; collective over ``comm``.

    On the ranks that the placement gives up for inference it does not return: they serve until the
    simulation closes its coupling, then leave by ``SystemExit``. An error that leaves the coupling's ``with`` and is
    taken by nobody ends all ranks, as they may wait for the one that it ends.

    Parameters
    ----------
    comm : communicator that holds the simulation's ranks and those given up; it is duplicated, never used itself.
    config : a ``CouplingConfig`` or the path of its YAML file.
    variables : what this rank will publish, by name: type and largest shape.
    output : folder of the run: ledgers, answers, events, books.
    commands : what may be steered beside the usual (``steering.commands``).
    veto : asked on rank 0 before a command is applied; a text refuses it, for that reason.

    Raises
    ------
    ValueError
        On every rank alike, where a rank finds the configuration, the variables or the folder wrong.
    InferenceFailedError
        On every rank alike, if inference is not ready in time and ``on_inference_failure`` is ``abort``.
    RunError
        If some rank does not take part.
    """
    from inference_insitu.placement import mpi

    world = mpi.duplicated(comm)
    try:
        joined = _join(world, config, variables, Path(output), tuple(commands))
    except ValueError:  # on every rank alike
        mpi.free(world)
        raise
    try:
        if not joined.roles.simulates(world.rank):
            raise SystemExit(keep(joined))
        return _simulation_side(joined, veto)
    except (ValueError, InferenceFailedError):  # on every rank alike, too
        mpi.free(joined.own, world)
        raise


def _join(
    world: "MPI.Intracomm",
    config: CouplingConfig | str | Path,
    variables: Mapping[str, Variable],
    output: Path,
    commands: tuple[CommandSpec, ...],
) -> Joined:
    from inference_insitu.placement import mpi

    def checked() -> CouplingConfig:
        read = config if isinstance(config, CouplingConfig) else read_config(CouplingConfig, config)
        read.check_variables(variables)
        if read.placement.kind == "job":
            sst.require()
        ring_plan(read, variables, is_root=True, spill_file=Path("spill"))
        return read

    agreed = mpi.agreed(world, checked, timeout_s=AGREE_TIMEOUT_S)
    nodes = mpi.nodes(world, agreed.placement.node_ranks)
    roles = mpi.agreed(world, lambda: assign(nodes, agreed.placement), timeout_s=AGREE_TIMEOUT_S)
    mpi.agreed(world, lambda: _prepare(output, agreed) if world.rank == 0 else None, timeout_s=AGREE_TIMEOUT_S)
    run_id = mpi.shared_text(world, secrets.token_hex(6))
    own = mpi.split(world, int(roles.simulates(world.rank)))
    first = nodes[world.rank] == world.rank
    return Joined(world, own, roles, agreed, variables, output.absolute(), run_id, commands, first)


def _prepare(output: Path, config: CouplingConfig) -> None:
    output.mkdir(parents=True, exist_ok=True)
    if any(output.glob("ledger-*.csv")):
        raise ValueError(f"output must be a folder without an earlier run, got {output}, which holds ledgers")
    write_config(config, output / CONFIG)


def _simulation_side(joined: Joined, veto: Veto | None) -> Coupling:
    from inference_insitu.placement import mpi
    from inference_insitu.steering.start import LOG, start_steering

    rank, config, output = joined.own.rank, joined.config, joined.output
    own = joined.own
    collective = mpi.SteeringCollective(own)
    origin_ns = mpi.origin_ns(own)
    with ExitStack() as undo:
        undo.push(partial(_free_where_all_fail, collective))
        events = EventLog(output / f"events-simulation{rank}.jsonl", f"simulation{rank}")
        undo.callback(events.close)
        sweep(joined, events)

        def built() -> tuple[RingPlan, Region | None, Steering, Ledger]:
            plan = ring_plan(config, joined.variables, is_root=rank == 0, spill_file=output / f"spill-{rank}")
            steering = start_steering(config.steering, collective, rank, output, events, joined.commands, veto)
            if rank == 0:
                undo.callback(_remove, output / LOG)
            undo.callback(steering.abandon, "the coupling was not made")
            if rank == 0 and config.placement.kind == "job":
                _offer(joined)
            region = None
            if plan.layout is not None:
                region = Region.create(plan.layout, rank=rank, path=joined.own_ring_path(rank))
                undo.callback(region.unlink)
                region.words[Word.ORIGIN_NS] = origin_ns
                if config.placement.scaling is not None:
                    begin(region, joined.roles.keeper_of(joined.rank))
            journal = None if region is None else region.journal
            ledger = Ledger(output, rank, origin_ns=origin_ns, journal=journal)
            undo.callback(_remove, output / ledger_name(rank))
            undo.callback(ledger.close)
            return plan, region, steering, ledger

        # With the ranks given up: they leave too where this fails, and may open the rings where it does not.
        plan, region, steering, ledger = mpi.agreed(joined.world, built, timeout_s=AGREE_TIMEOUT_S)
        undo.push(partial(_take_leave, joined))
        carrier = mpi.agreed(joined.world, lambda: _carrier(joined, region, events), timeout_s=AGREE_TIMEOUT_S)
        undo.callback(carrier.close)
        if config.placement.kind == "nodes":  # the keepers have heard of the rings, and can say whether they serve them
            mpi.agreed(joined.world, lambda: None, timeout_s=AGREE_TIMEOUT_S)
        producer = None
        if region is not None:
            producer = FillingProducer(region, plan.streams, ledger, progress=carrier.progress, carries=carrier.carries)
            undo.callback(producer.close)
        if rank == 0:
            _announce(joined)
        _say_attached(joined, events, origin_ns)
        _wait_ready(joined, carrier, events)
        undo.pop_all()
    simulation_comm = mpi.duplicated(own)
    return Coupling(
        Parts(
            simulation_comm,
            mpi.MpiGroup(own),
            config,
            output,
            ledger,
            producer,
            plan.reductions,
            carrier,
            steering,
            events,
            gather=lambda data: mpi.gathered(own, data, timeout_s=AGREE_TIMEOUT_S),
            leave=lambda: _leave(joined, carrier),
            give_up=lambda: _give_up(joined),
            free=lambda: mpi.free(simulation_comm, collective, own, joined.world),
            collective=collective,
        )
    )


def _free_where_all_fail(collective: "SteeringCollective", kind: type | None, error: object, trace: object) -> None:
    """Communicators are given back by all ranks or by none."""
    if isinstance(error, ValueError | InferenceFailedError):
        collective.free()


def _take_leave(joined: Joined, kind: type | None, error: object, trace: object) -> None:
    """Tell the ranks given up, unless they fail of the same."""
    from inference_insitu.placement import mpi_parting

    if not isinstance(error, ValueError):
        mpi_parting.say_farewell(joined.world, joined.given_up, mpi_parting.ABANDONED)


def _remove(path: Path) -> None:
    """Of a start that failed nothing is left that another one would take for a run."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _carrier(joined: Joined, region: Region | None, events: EventLog) -> carriers.Carrier:
    if region is None:
        return carriers.NoRing()
    kind, rank = joined.config.placement.kind, joined.rank
    if kind == "nodes":
        return _relay(joined, region, events)
    if kind == "job":
        from inference_insitu.placement.job import CourierSupervisor

        config = joined.config
        couriers = CourierSupervisor(
            region, joined.output, failure=config.on_inference_failure, placement=config.placement, events=events
        )
        return carriers.SharedMemory(region, couriers)
    served = joined.roles.served[joined.roles.keeper_of(rank)]
    if kind == "process":
        return carriers.SharedMemory(region, supervisor_of(joined, events) if rank == served[0] else None)
    local = joined.config.on_inference_failure.action == "local"
    if local and rank == served[0]:
        return carriers.SharedMemory(region, take_over=lambda: supervisor_of(joined, events, first_incarnation=1000))
    return carriers.SharedMemory(region, waits_for_heir=local)


def _offer(joined: Joined) -> None:
    """Say in the run's folder what a job of its own is to serve."""
    from inference_insitu.placement.job import offer

    rings = tuple(str(joined.ring_path(rank)) for rank in ranks_with_rings(joined.config, joined.own.size))
    offer(joined.output, WorkerSpec(0, rings, str(joined.output / CONFIG), str(joined.output), joined.commands))


def _relay(joined: Joined, region: Region, events: EventLog) -> carriers.Carrier:
    from inference_insitu.placement.mpi_wire import MpiWire
    from inference_insitu.placement.relay_sender import Sender

    wire = MpiWire(joined.world, joined.roles.keepers[joined.roles.keeper_of(joined.rank)])
    path = region.path
    if path is None:
        return Sender(region, wire, events=events)
    # A worker for this rank alone, after all those of the keepers.
    worker = len(joined.roles.keepers) + joined.own.rank
    return Sender(
        region, wire, events=events, take_over=lambda: supervisor_of(joined, events, paths=[path], worker=worker)
    )


def _wait_ready(joined: Joined, carrier: carriers.Carrier, events: EventLog) -> None:
    """Until inference is ready or has failed, where the configuration says so."""
    from inference_insitu.placement import mpi

    placement = joined.config.placement
    if not placement.wait_ready:
        return

    def known() -> bool:
        carrier.progress()
        return carrier.state is not Side.STARTING

    wait_until(known, timeout_s=placement.ready_timeout_s)
    ready = carrier.state is Side.READY
    events.log("ready" if ready else "not_ready")
    # A rank that waits for its worker is not late.
    timeout_s = placement.ready_timeout_s + AGREE_TIMEOUT_S
    abort = joined.config.on_inference_failure.action == "abort"
    if abort and mpi.anywhere(joined.own, not ready, timeout_s=timeout_s):
        raise InferenceFailedError(
            "inference is not ready (on_inference_failure: abort); the worker's lines above say why"
        )
    mpi.wait_for_all(joined.own, timeout_s=timeout_s)


def _leave(joined: Joined, carrier: carriers.Carrier) -> bool:
    """Part from the ranks that infer, which nobody waits for; whether all of them live."""
    from inference_insitu.placement import mpi, mpi_parting

    carrier.progress()  # a relay says that the books are closed
    died = mpi.anywhere(joined.own, carrier.supervisor_lost, timeout_s=AGREE_TIMEOUT_S)
    mpi_parting.say_farewell(joined.world, joined.given_up, mpi_parting.RANK_DIED if died else mpi_parting.CLOSED)
    if died:
        mpi_parting.leave_without_finalize()
    return not died


def _give_up(joined: Joined) -> None:
    """Part after a failure of this rank; whether the others go on is not known."""
    from inference_insitu.placement import mpi_parting

    mpi_parting.say_farewell(joined.world, joined.given_up, mpi_parting.ABANDONED)
    mpi_parting.end_together()


def _say_attached(joined: Joined, events: EventLog, origin_ns: int) -> None:
    machine = {"machine": machine_facts()} if joined.first_of_node else {}
    events.log(
        "attach",
        pid=os.getpid(),
        placement=joined.config.placement.kind,
        run=joined.run_id,
        origin_monotonic_s=origin_ns * 1e-9,
        **machine,
    )


def _announce(joined: Joined) -> None:
    from inference_insitu.placement import mpi

    placement = joined.config.placement
    print(
        f"cdi: {joined.world.size} ranks: {joined.own.size} simulate, {len(joined.given_up)} given up for inference "
        f"({placement.kind}); {mpi.library()}; {mpi.what_a_dead_rank_does()}; run {joined.run_id}, {joined.output}",
        file=sys.stderr,
        flush=True,
    )
