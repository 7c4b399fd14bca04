"""The durable log in Redis Streams: the file that a site with another broker (NATS JetStream, Kafka) swaps.

A record is one entry ``0-<offset>``: the first half of Redis' identifiers would be a clock, which jumps; left at 0, the
other half counts by itself. Readers are consumer groups, for what they have committed alone. Durability is the server's
(``redis_server`` has it flush its append-only file before it acknowledges).
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cdi.errors import optional_import
from cdi.requirements import require
from inference_insitu.transit.log.redis_scripts import APPEND, HEADERS, HELD, TRIM
from inference_insitu.transit.log.stream_log import FRAMES, LogAway, LogFull, Once, Record, Standing, Stored, Topic

T = TypeVar("T")

LONGEST_WAIT_S = 5.0
"""Of one call of the server; a longer wait asks again."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.25
_ALL_FULL = -2
_NO_LIMIT = 1 << 52
_FULL = ("OOM", "MISCONF")
"""How Redis' errors begin where memory or disk are full."""


@dataclass(frozen=True)
class RedisAddress:
    """Where the broker listens.

    Parameters
    ----------
    host, port : of the server.
    password_file : its password, in a file that only its owner reads.
    patience_s : how long a call tries to reach it before it raises ``LogAway``.
    most_topic_bytes : a topic that holds more is full.
    most_frame_bytes : frames are not taken where all topics together hold more: answers must have room, or nobody could
        deal with what is there.
    disk, reserve_bytes : where the server on this machine keeps its file ('' for elsewhere), and how much room it must
        have left: a Redis that meets a full disk ends itself.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    password_file: str = ""
    patience_s: float = 2.0
    most_topic_bytes: int = 1 << 30
    most_frame_bytes: int = 1 << 40
    disk: str = ""
    reserve_bytes: int = 1 << 28

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port must lie in [1, 65535], got {self.port}")
        if not 0 < self.patience_s <= 3600:
            raise ValueError(f"patience_s must lie in (0, 3600] s, got {self.patience_s}")
        require(self.most_topic_bytes >= 1, "most_topic_bytes", "be at least 1", self.most_topic_bytes)
        require(self.most_frame_bytes >= 1, "most_frame_bytes", "be at least 1", self.most_frame_bytes)
        require(self.reserve_bytes >= 0, "reserve_bytes", "be at least 0", self.reserve_bytes)

    @property
    def password(self) -> str:
        """What the password file says; '' without one."""
        return Path(self.password_file).read_text().strip() if self.password_file else ""


class RedisLog:
    """Implements ``StreamLog``; one connection at a time, for one thread."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._redis: Any = optional_import("redis", group="transit", purpose="the stream log")
        self._client = self._redis.Redis(
            host=address.host,
            port=address.port,
            password=address.password or None,
            protocol=2,
            socket_timeout=LONGEST_WAIT_S + address.patience_s,
            socket_connect_timeout=address.patience_s,
            retry=self._redis.retry.Retry(self._redis.backoff.NoBackoff(), 0),
        )

    def append(self, topic: Topic, record: Record, *, once: Once | None = None) -> int | None:
        """As ``StreamLog``. Without ``once`` a record whose acknowledgement was lost may be there twice."""
        return self.append_all(topic, [(record, once)])[0]

    def append_all(self, topic: Topic, records: Sequence[tuple[Record, Once | None]]) -> list[int | None]:
        """As ``StreamLog``: sent together, and flushed to the disk together."""
        self._check_disk(topic)
        answers: list[Any] = self._asked(lambda: self._send(topic, records))
        for (record, _), answer in zip(records, answers, strict=True):
            if isinstance(answer, Exception):
                raise self._told(answer, topic) from answer
            if answer < 0:
                what, most = topic.name, self._address.most_topic_bytes
                if answer == _ALL_FULL:
                    what, most = "the log with its frames", self._address.most_frame_bytes
                raise LogFull(
                    f"{what} must hold at most {most} bytes; a record of {len(record.header) + len(record.payload)} "
                    f"more does not fit: wait for readers to commit"
                )
        return [int(answer) or None for answer in answers]

    def read(self, topic: Topic, *, after: int, count: int, wait_s: float = 0.0) -> list[Stored]:
        """As ``StreamLog``."""
        end_s = time.monotonic() + wait_s
        while True:
            left_s = min(end_s - time.monotonic(), LONGEST_WAIT_S)
            block = max(1, round(1000 * left_s)) if left_s > 0 else None
            found = self._plain(topic, partial(self._client.xread, {topic.name: f"0-{after}"}, count, block))
            if found:
                return [_stored(*entry) for entry in found[0][1]]
            if time.monotonic() >= end_s:
                return []

    def standing(self, topic: Topic) -> Standing:
        """As ``StreamLog``."""

        def ask() -> Any:
            pipeline = self._client.pipeline()
            pipeline.xlen(topic.name)
            pipeline.hmget(_books(topic), "last", "total", "gone")
            return pipeline.execute()

        length, books = self._asked(ask)
        last, total, gone = (int(value or 0) for value in books)
        return Standing(last - length + 1 if last else 0, last, total - gone)

    def register(self, topic: Topic, reader: str) -> int:
        """As ``StreamLog``."""
        there = self.committed(topic)
        if reader not in there:  # a full memory would not even look for it
            try:
                self._asked(lambda: self._client.xgroup_create(topic.name, reader, "0-0", mkstream=True))
            except self._redis.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise self._told(error, topic) from error
        return there.get(reader, 0)

    def forget(self, topic: Topic, reader: str) -> None:
        """As ``StreamLog``."""
        self._plain(topic, lambda: self._client.xgroup_destroy(topic.name, reader))

    def commit(self, topic: Topic, reader: str, offset: int) -> None:
        """As ``StreamLog``; ``reader`` must be registered."""
        self._plain(topic, lambda: self._client.xgroup_setid(topic.name, reader, f"0-{offset}"))

    def committed(self, topic: Topic) -> Mapping[str, int]:
        """As ``StreamLog``."""
        try:
            groups = self._asked(lambda: self._client.xinfo_groups(topic.name))
        except self._redis.ResponseError as error:
            if "no such key" in str(error):  # there is no such topic yet
                return {}
            raise self._told(error, topic) from error
        return {group["name"].decode(): _offset(group["last-delivered-id"]) for group in groups}

    def headers(self, topic: Topic, *, after: int, through: int, count: int) -> list[tuple[int, bytes]]:
        """As ``StreamLog``."""
        found = self._plain(topic, lambda: self._client.eval(HEADERS, 1, topic.name, after + 1, through, count))
        return [(_offset(name), header) for name, header in zip(found[::2], found[1::2], strict=True)]

    def trim(self, topic: Topic, *, through: int) -> int:
        """As ``StreamLog``."""
        return int(self._plain(topic, lambda: self._client.eval(TRIM, 3, topic.name, _books(topic), HELD, through)))

    def close(self) -> None:
        """As ``StreamLog``."""
        self._client.close()

    def _send(self, topic: Topic, records: Sequence[tuple[Record, Once | None]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for record, once in records:
            writer, number = ("", 0) if once is None else (once.writer, once.number)
            limits = self._address.most_topic_bytes, self._address.most_frame_bytes
            if topic.kind != FRAMES:
                limits = _NO_LIMIT, _NO_LIMIT
            # The whole script and not its hash: a server that was started anew knows no hash.
            keys = topic.name, _books(topic), HELD
            pipeline.eval(APPEND, 3, *keys, record.header, record.payload, writer, number, *limits)
        return list(pipeline.execute(raise_on_error=False))

    def _plain(self, topic: Topic, ask: Callable[[], T]) -> T:
        try:
            return self._asked(ask)
        except self._redis.ResponseError as error:
            raise self._told(error, topic) from error

    def _asked(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives, asked again for as long as the broker is away and patience lasts."""
        end_s = time.monotonic() + self._address.patience_s
        pause_s = _FIRST_PAUSE_S
        where = f"the log at {self._address.host}:{self._address.port}"
        errors = self._redis.exceptions
        while True:
            try:
                return ask()
            except (errors.AuthenticationError, errors.AuthorizationError) as error:
                raise LogAway(
                    f"{where} must be given its password: {self._address.password_file or 'none'} was refused ({error})"
                ) from error
            except (errors.ConnectionError, errors.TimeoutError) as error:
                if time.monotonic() + pause_s > end_s:
                    line = " ".join(str(error).split())
                    raise LogAway(f"{where} does not answer within {self._address.patience_s:g} s: {line}") from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _told(self, error: Exception, topic: Topic) -> RuntimeError:
        line = " ".join(str(error).split())
        if line.startswith(_FULL) or isinstance(error, self._redis.exceptions.OutOfMemoryError):
            return LogFull(f"the log's server takes no more of {topic.name}: {line}")
        if "unauthenticated" in line:  # what it says to a long command
            return LogAway(f"the log's server must be given its password to take {topic.name}: {line}")
        return LogAway(f"the log's server refuses {topic.name}: {line}")

    def _check_disk(self, topic: Topic) -> None:
        if not self._address.disk:
            return
        try:
            disk = os.statvfs(self._address.disk)
        except OSError as error:
            raise LogAway(f"the log's folder {self._address.disk} must be there, got: {error}") from error
        free = disk.f_bavail * disk.f_frsize
        if free < self._address.reserve_bytes:
            raise LogFull(
                f"the disk of {self._address.disk} must have {self._address.reserve_bytes} bytes left for the log, "
                f"got {free}: {topic.name} takes no more"
            )


def _books(topic: Topic) -> str:
    return f"{topic.name}#books"


def _offset(name: bytes) -> int:
    return int(name.partition(b"-")[2])


def _stored(name: bytes, fields: Mapping[bytes, bytes]) -> Stored:
    # A foreign entry has no header: whoever decodes it quarantines it.
    return Stored(_offset(name), fields.get(b"h", b""), fields.get(b"p", b""))
