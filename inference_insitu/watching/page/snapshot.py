"""The state of a run as the page shows it, and how anything becomes JSON that JavaScript can hold."""

import base64
import math
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from inference_insitu.books.outcomes import HANDED_OVER
from inference_insitu.watching.live import MOST_STREAMS, MOST_WORKERS, condition_of
from inference_insitu.watching.live_state import RunState, StreamState
from inference_insitu.watching.page.followed_run import FollowedRun
from inference_insitu.watching.reasons import asked_for, colour, meaning, shown
from inference_insitu.watching.worker_events import BAD_STATES, is_bad, worker_name

LAST_EVENTS = 40
LAST_COMMANDS = 40
MOST_PROBLEMS = 20
LONGEST_EVENT = 160
_DEEPEST = 12


def snapshot(run: FollowedRun) -> dict[str, Any]:
    """Everything but volumes and histories."""
    state = run.state
    kind, text = condition_of(state)
    streams = list(state.streams.items())[:MOST_STREAMS]
    return {
        "revision": run.revision,
        "generation": run.generation,
        "folder": str(state.folder),
        "condition": {"kind": kind, "text": text},
        "problems": [*state.imbalances, *state.problems.values()][:MOST_PROBLEMS],
        "ranks": len(state.ranks),
        "newest_s": state.newest_s,
        "streams": [_stream(name, stream, state.newest_s) for name, stream in streams],
        "left_out_streams": len(state.streams) - len(streams),
        "fates": _fates(state),
        "workers": _workers(state),
        "events": [_event(event) for event in list(state.events)[-LAST_EVENTS:]],
        "history": {name: one.answers for name, one in run.history.streams.items()},
        "steering": {
            "counts": dict(run.command_counts),
            "rows": list(run.commands)[-LAST_COMMANDS:],
            "bounds": run.bounds,
            **run.desk.to_json(),
        },
    }


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON that JavaScript can hold: NaN and infinity as null, texts of one line, bytes in base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else float(value) if abs(value) < 10**300 else None
    if isinstance(value, str):
        return shown(value, 400)
    if depth < _DEEPEST and isinstance(value, dict):
        return {shown(name, 200): plain(item, depth + 1) for name, item in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    return shown(value, 400)


def _stream(name: str, stream: StreamState, now_s: float) -> dict[str, Any]:
    return {
        "name": name,
        "published": stream.published,
        "inferred": stream.inferred,
        "handed_over": stream.handed_over,
        "fates": {**stream.dropped, HANDED_OVER: stream.handed_over},
        "rate": stream.rate(now_s),
        "per_second": stream.recent_counts(now_s),
        "latency_s": stream.percentiles_s(),
        "newest_step": stream.newest_step,
    }


def _fates(state: RunState) -> list[dict[str, Any]]:
    """What became of the frames that were not inferred here."""
    streams = list(state.streams.values())
    frames = sum(
        (stream.dropped for stream in streams), Counter({HANDED_OVER: sum(one.handed_over for one in streams)})
    )
    return [
        {
            "name": name,
            "frames": count,
            "meaning": meaning(name),
            "colour": colour(name),
            "asked_for": asked_for(name),
        }
        for name, count in frames.items()
        if count
    ]


def _workers(state: RunState) -> list[dict[str, Any]]:
    numbers = {worker_name(row.worker): row for row in state.numbers}
    rows = []
    for name in [*state.workers, *(name for name in numbers if name not in state.workers)][:MOST_WORKERS]:
        said, counted = state.workers.get(name), numbers.get(name)
        rows.append(
            {
                "name": name,
                "state": said.state if said else "-",
                "bad": bool(said and said.state in BAD_STATES),
                "since_s": time.time() - said.since_s if said and not state.books else None,
                "restarts": max(said.restarts if said else 0, counted.restarts if counted else 0),
                "queue": counted.queue if counted else None,
                "batch_frames": counted.batch_frames if counted else None,
                "batch_seconds": counted.batch_seconds if counted else None,
            }
        )
    return rows


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _event(event: Any) -> dict[str, Any]:
    # What the node is stands in the report.
    told = {name: value for name, value in event.fields.items() if name != "machine"}
    fields = shown(", ".join(f"{name} {_short(value)}" for name, value in told.items()), LONGEST_EVENT)
    return {
        "time": f"{datetime.fromtimestamp(event.time_s, UTC):%H:%M:%S}",
        "who": event.who,
        "event": event.event,
        "text": fields,
        "bad": is_bad(event),
    }
