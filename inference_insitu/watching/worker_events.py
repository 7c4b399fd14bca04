"""What events say of workers, and of which one."""

import re
from collections.abc import Collection

from inference_insitu.watching.events import Event
from inference_insitu.watching.reasons import asked_for

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
    "not_ready",
    "inference_failed",
    "simulation_died",
    "estate_unwritten",
    "close_failed",
    "abandoned",
    "courier_not_started",
    "courier_died",
    "serving_job_lost",
    "device_failed",
    "proposal_lost",
    "steering_damaged",
    "rule",
    "damaged_answer",
    "damaged_alert",
    "migration_failed",
    "state_lost",
    "worker_not_joined",
    "ring_kept",
    "ring_inherited",
    "engine_died",
    "log_away",
    "log_died",
    "steering_refused",
    "steering_expired",
    "version_not_taken",
    "version_rolled_back",
    "truth_set_aside",
    "frames_missed",
    "frame_too_large",
    "frame_damaged",
    "unnoted",
}
"""Something went wrong, or less was done than asked for; ``rule`` is one that could not be asked of an answer."""
PLAIN_EVENTS = {
    *("attach", "ready", "end", "session", "serving_job", "courier_started", "stale_removed", "relay", "device"),
    *("worker_started", "worker_ready", "worker_stopped", "restart", "drained", "closed", "steering_replay"),
    *("engine_running", "log_back", "log_joined", "migration", "transit_account", "transit_started", "transit_stopped"),
    *("alert", "engine_scales", "migration_rule"),
    *("learning_started", "learning_stopped", "version_made", "version_refused", "version_accepted", "version_watched"),
    *("version_prepared", "version_took_over"),
    *("sharing", "workers", "workers_changed", "ring_given", "ring_taken"),
}
_WORKER, _SIMULATION = "worker", "simulation"
_WRITER = re.compile(r"(worker|keeper|serving)(?P<number>[0-9]{1,9})")


def is_bad(event: Event) -> bool:
    """Whether ``event`` tells of something that went wrong; a drop does where no setting leads to it."""
    return event.event in BAD_EVENTS or (event.event == "drop" and not asked_for(str(event.fields.get("reason", ""))))


def worker_name(name: object) -> str:
    """``worker3`` for ``3``; any other name as it is."""
    return f"{_WORKER}{name}" if str(name).isdecimal() else str(name)


def worker_of(event: Event, known: Collection[str]) -> str | None:
    """The worker that ``event`` changes the state of, or None; ``known`` are those met before.

    It is the one that the event names, else the one that writes it, else that of the rank or serving job which
    watches over it: keeper 3 has worker 3. A simulation rank that does so without a name means the only worker there
    is; where there are several the event tells of none, for no worker must be shown that does not exist.
    """
    if event.event not in STATES:
        return None
    if "worker" in event.fields:
        return worker_name(event.fields["worker"])
    writer = _WRITER.fullmatch(event.who)
    if writer is not None:
        return worker_name(writer["number"])
    if not event.who.startswith(_SIMULATION) or event.event in ENDINGS:  # of the rank, not of its worker
        return None
    return next(iter(known)) if len(known) == 1 else None
