"""A Redis of one's own for a run: on loopback, behind a password made for it, every acknowledged record on the disk."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from types import TracebackType

from cdi.errors import MissingDependencyError, RunError
from inference_insitu.transit.log.left_behind import end_left_behind, remember
from inference_insitu.transit.log.redis_log import RedisAddress, RedisLog
from inference_insitu.transit.log.stream_log import ANSWERS, LogAway, Topic
from inference_insitu.waiting import wait_until

INSTALL = "apt-get install redis-server"
PROCESS = "server.process"
FRAME_SHARE = 0.6
"""Of the memory: records take up to a quarter more than their bytes, and answers must have room beside frames."""
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


def redis_program() -> str:
    """Path of the server.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    found = shutil.which("redis-server", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin"]))
    if found is None:
        raise MissingDependencyError(
            f"the stream log needs the program redis-server, which is not here; install it with: {INSTALL}"
        )
    return found


class RedisServer:
    """The server whose records lie in ``folder``; started anew there, it has everything that was acknowledged.

    Parameters
    ----------
    folder : made if it is not there; password, configuration, append-only file and the server's own log lie in it.
    memory_bytes : most memory for records; beyond it the log is full.
    port : None picks a free one.
    """

    def __init__(self, folder: Path, *, memory_bytes: int = 2 << 30, port: int | None = None) -> None:
        self._program = redis_program()
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._memory_bytes, self._port = memory_bytes, port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._password_file = self._folder / "password"
        if not self._password_file.exists():
            _write_private(self._password_file, secrets.token_urlsafe(32))

    @property
    def address(self) -> RedisAddress:
        """How to reach it."""
        frames = int(FRAME_SHARE * self._memory_bytes)
        return RedisAddress(
            port=self._port,
            password_file=str(self._password_file),
            most_topic_bytes=frames,
            most_frame_bytes=frames,
            disk=str(self._folder),
        )

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process is not None else None

    def start(self) -> RedisAddress:
        """Start it and wait until it answers; how to reach it.

        Raises
        ------
        RunError
            If it ends or does not answer, or one that is left from before does not end.
        """
        # Two servers of one file would spoil it.
        end_left_behind(self._folder / PROCESS, STOP_TIMEOUT_S)
        config = self._folder / "redis.conf"
        _write_private(config, self._config())
        log = self._folder / "server.log"
        with log.open("ab") as output:
            # Its own session: a Ctrl-C is the run's, and the log is stopped last.
            process = self._process = subprocess.Popen(
                [self._program, str(config)], stdout=output, stderr=output, start_new_session=True
            )
        remember(self._folder / PROCESS, process.pid)
        wait_until(lambda: process.poll() is not None or self._answers(), timeout_s=START_TIMEOUT_S, interval_s=0.02)
        if process.poll() is not None or not self._answers():
            self.kill()
            raise RunError(f"redis-server did not start: {_last_line(log)} ({log})")
        return self.address

    def stop(self) -> None:
        """End it in order; killed where that takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    close = stop

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _config(self) -> str:
        # 'always': acknowledged means flushed. Records go one after the other, so those that wait share a flush.
        return "\n".join(
            (
                "bind 127.0.0.1",
                "protected-mode yes",
                f"port {self._port}",
                f"requirepass {self._password_file.read_text()}",
                f'dir "{self._folder}"',
                "appendonly yes",
                "appendfsync always",
                'save ""',
                f"maxmemory {self._memory_bytes}",
                "maxmemory-policy noeviction",
                "proto-max-bulk-len 512mb",
                "stream-node-max-entries 16",
                "daemonize no",
                "",
            )
        )

    def _answers(self) -> bool:
        with closing(RedisLog(self.address)) as log:
            try:
                log.standing(Topic("probe", ANSWERS))
            except LogAway:
                return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_private(path: Path, text: str) -> None:
    """Only its owner reads it, from the first moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
