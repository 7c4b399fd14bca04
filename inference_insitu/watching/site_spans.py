"""Who answered a run's frames, from when to when: the workers beside the simulation, the stream engine, a migration."""

from collections.abc import Sequence
from dataclasses import dataclass

from inference_insitu.watching.events import Event
from inference_insitu.watching.run_files import RunFiles

IN_SITU, IN_TRANSIT, MIGRATING, ABORTED = "in situ", "in transit", "migrating", "migrating, in vain"
CATCHING_UP = "catching up"
_SITES = {"in_situ": IN_SITU, "in_transit": IN_TRANSIT}


@dataclass(frozen=True)
class SiteSpan:
    """``who`` answered from ``start_s`` to ``end_s``, seconds since the run's start."""

    who: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class _Move:
    """A migration as all workers together tell of it."""

    to: str
    committed: bool
    begun_s: float
    ended_s: float


def site_spans(run: RunFiles) -> list[SiteSpan]:
    """Spans of the whole run; none where nothing ever moved or tried to."""
    told = [event for event in run.events if event.event == "migration"]
    moves = _moves(run, told)
    if not moves:
        return []
    spans, site, since_s = [], IN_SITU, 0.0
    for move in moves:
        spans += [
            SiteSpan(site, since_s, move.begun_s),
            SiteSpan(MIGRATING if move.committed else ABORTED, move.begun_s, move.ended_s),
        ]
        since_s = move.ended_s
        site = move.to if move.committed else site
        if move.committed and site == IN_SITU:
            caught_s = _caught_up_s(run, told, move.ended_s)
            spans.append(SiteSpan(CATCHING_UP, since_s, caught_s))
            since_s = caught_s
    spans.append(SiteSpan(site, since_s, max(run.end_s, since_s)))
    return [span for span in spans if span.end_s > span.start_s]


def _moves(run: RunFiles, told: Sequence[Event]) -> list[_Move]:
    """Migrations in their order: begun with the first worker's word, ended with the last one's."""
    found = []
    for number in dict.fromkeys(event.fields.get("id") for event in told if event.fields.get("phase") == "begun"):
        own = [event for event in told if event.fields.get("id") == number]
        begun = [event for event in own if event.fields.get("phase") == "begun"]
        ended = [event for event in own if event.fields.get("phase") in ("committed", "aborted")]
        times = [run.seconds(event) for event in ended] or [run.end_s]
        committed = any(event.fields.get("phase") == "committed" for event in ended)
        to = _SITES.get(str(begun[0].fields.get("to")), IN_SITU)
        found.append(_Move(to, committed, min(map(run.seconds, begun)), max(times)))
    return sorted(found, key=lambda move: move.begun_s)


def _caught_up_s(run: RunFiles, told: Sequence[Event], since_s: float) -> float:
    """When every worker that says so had answered what lay in the log since ``since_s``, or a next move began."""
    until_s = min(
        (run.seconds(event) for event in told if event.fields.get("phase") == "begun" and run.seconds(event) > since_s),
        default=run.end_s,
    )
    times = [run.seconds(event) for event in told if event.fields.get("phase") == "caught_up"]
    return max((second for second in times if since_s <= second <= until_s), default=since_s)
