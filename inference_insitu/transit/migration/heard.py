"""Whether the engine has done what all marks of one kind asked of it."""

from collections.abc import Collection

from inference_insitu.transit.account import Key
from inference_insitu.transit.log.records import REFUSED, Reply
from inference_insitu.transit.migration.marking import Marking


class RefusedError(RuntimeError):
    """The engine cannot do it, and says why."""


def heard(marking: Marking, migration: int, action: str, keys: Collection[Key] | None = None) -> list[Reply]:
    """The replies to the mark ``action`` of all ``keys`` (of every one); empty as long as one is missing.

    Raises
    ------
    RefusedError
        If one says no.
    """
    asked = marking.keys if keys is None else keys
    replies = [reply for key in asked if (reply := marking.reply(migration, action, key)) is not None]
    for reply in replies:
        if reply.said == REFUSED:
            raise RefusedError(f"the engine refuses to {action} {reply.stream} of rank {reply.rank}: {reply.detail}")
    return replies if len(replies) == len(asked) else []
