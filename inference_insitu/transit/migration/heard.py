"""Whether the engine has done what all marks of one kind asked of it."""

from inference_insitu.transit.log.records import REFUSED, Reply
from inference_insitu.transit.migration.marking import Marking


class RefusedError(RuntimeError):
    """The engine cannot do it, and says why."""


def heard(marking: Marking, migration: int, action: str) -> list[Reply]:
    """The replies to the mark ``action`` of every key; empty as long as one is missing.

    Raises
    ------
    RefusedError
        If one says no.
    """
    replies = [reply for key in marking.keys if (reply := marking.reply(migration, action, key)) is not None]
    for reply in replies:
        if reply.said == REFUSED:
            raise RefusedError(f"the engine refuses to {action} {reply.stream} of rank {reply.rank}: {reply.detail}")
    return replies if len(replies) == len(marking.keys) else []
