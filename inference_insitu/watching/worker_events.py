"""What events say of workers, and of which one."""

from collections.abc import Collection

from inference_insitu.watching.events import Event

STATES = {
    "worker_started": "starting",
    "worker_ready": "ready",
    "worker_unusable": "unusable",
    "worker_failed": "dead",
    "worker_not_started": "dead",
    "worker_died": "dead",
    "worker_hung": "hung",
    "restart": "restarting",
    "gave_up": "given up",
    "drained": "drained",
    "worker_stopped": "stopped",
    "closed": "closed",
}
"""State of a worker after each event."""
ENDINGS = ("drained", "worker_stopped", "closed")
BAD_STATES = {"unusable", "dead", "hung", "restarting", "given up"}
BAD_EVENTS = {
    "worker_unusable",
    "worker_failed",
    "worker_not_started",
    "worker_died",
    "worker_hung",
    "gave_up",
    "inference_failed",
    "simulation_died",
    "estate_unwritten",
    "close_failed",
    "abandoned",
}
_WORKER, _KEEPER, _SIMULATION = "worker", "keeper", "simulation"


def worker_name(name: object) -> str:
    """``worker3`` for ``3``; any other name as it is."""
    return f"{_WORKER}{name}" if str(name).isdecimal() else str(name)


def worker_of(event: Event, known: Collection[str]) -> str | None:
    """The worker that ``event`` changes the state of, or None; ``known`` are those met before.

    It is the one that the event names, else the one that writes it, else that of the rank which watches over
    it: keeper 3 has worker 3. A simulation rank that does so is known by the only worker there is, where there
    is one.
    """
    if event.event not in STATES:
        return None
    if "worker" in event.fields:
        return worker_name(event.fields["worker"])
    if event.who.startswith(_KEEPER):
        return worker_name(event.who.removeprefix(_KEEPER))
    if not event.who.startswith(_SIMULATION):
        return event.who
    if event.event in ENDINGS:  # of the rank, not of its worker
        return None
    return next(iter(known)) if len(known) == 1 else f"worker of {event.who}"
