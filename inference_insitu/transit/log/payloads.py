"""Large arrays beside the log: written once into a folder that both sides see, checked, and referred to by descriptor.

The folder is node-local memory (under ``/dev/shm``) where the engine runs on the same machine, else a shared one, the
run's own. A file appears whole, under a name that says whose it is; it is removed with the records that speak of it
(``retention``).
"""

import errno
import os
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote
from uuid import uuid4

from inference_insitu.transit.log.records import Control, Data, Descriptor, FrameRecord, PoisonedRecordError, Reply
from inference_insitu.transit.log.stream_log import LogFull

THRESHOLD_BYTES = 1 << 18
"""Larger payloads go into files, where nothing else is said."""
SUFFIX, PARTIAL = ".payload", ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Carrying = TypeVar("Carrying", FrameRecord, Control, Reply)


class PayloadStore:
    """Files in ``folder``.

    Parameters
    ----------
    folder : made if it is not there, for its owner alone.
    threshold_bytes : payloads above it become files.
    flushed : whether a file is on the disk before it is referred to; of no use in memory.
    """

    def __init__(self, folder: Path, *, threshold_bytes: int = THRESHOLD_BYTES, flushed: bool = True) -> None:
        if threshold_bytes < 0:
            raise ValueError(f"threshold_bytes must be at least 0, got {threshold_bytes}")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self._threshold, self._flushed = folder, threshold_bytes, flushed

    def laid_out(self, record: Carrying) -> Carrying:
        """``record`` with its data in a file if they are above the threshold.

        A record that is laid out again, because its append failed, has the file of the first time.

        Raises
        ------
        LogFull
            If the folder does not take them.
        """
        data = record.data
        if isinstance(data, Descriptor) or len(data) <= self._threshold:
            return record
        return replace(record, data=self.write(data, _owner(record)))

    def write(self, data: bytes | memoryview, owner: str) -> Descriptor:
        """Keep ``data`` in a file whose name begins with ``owner``; what is there already is not written again.

        Raises
        ------
        LogFull
            If the folder does not take it.
        """
        crc = zlib.crc32(data)
        name = f"{owner}.{crc:08x}{SUFFIX}"
        described, path = Descriptor(name, len(data), crc), self.folder / name
        if path.exists():
            return described
        partial = path.with_name(f"{name}.{uuid4().hex[:16]}{PARTIAL}")
        try:
            with partial.open("xb", buffering=0) as file:
                view = memoryview(data)
                while len(view):
                    view = view[file.write(view) :]
                if self._flushed:
                    os.fsync(file.fileno())
            partial.rename(path)
            if self._flushed:
                self._flush_folder()
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            if error.errno in _FULL:
                raise LogFull(
                    f"{self.folder} must take a payload of {len(data)} bytes, got: {error.strerror}"
                ) from error
            raise
        return described

    def read(self, data: Data) -> bytes | memoryview:
        """``data`` themselves, from the file if they are described.

        Raises
        ------
        PoisonedRecordError
            If the file is not there, or not what was described.
        """
        if not isinstance(data, Descriptor):
            return data
        path = self._path(data.file)
        try:
            # Not through a link: the folder may be shared.
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size != data.size:
                    raise PoisonedRecordError(f"{data.file} must have {data.size} bytes, got {size}")
                content = bytearray(size)
                file.readinto(content)
        except OSError as error:
            raise PoisonedRecordError(f"the payload {data.file} must be there, got: {error.strerror}") from error
        if zlib.crc32(content) != data.crc32:
            raise PoisonedRecordError(f"{data.file} must have the checksum {data.crc32}, got {zlib.crc32(content)}")
        return memoryview(content)

    def remove(self, descriptor: Descriptor) -> None:
        """Nobody will read it any more."""
        self._path(descriptor.file).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if "/" in name or "\0" in name or name.startswith(".") or not name.endswith(SUFFIX):
            raise PoisonedRecordError(f"a payload must be a plain file name that ends in {SUFFIX}, got {name[:80]!r}")
        return self.folder / name

    def _flush_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _owner(record: FrameRecord | Control | Reply) -> str:
    """A name for the file of ``record`` and of no other: a frame has its step, a mark and its reply have an id."""
    mark = "" if isinstance(record, FrameRecord) else record.id
    whole = zlib.crc32(f"{record.stream}\0{mark}".encode())  # the stream's name is cut to what a file system takes
    stream = quote(record.stream, safe="")[:80]
    return f"{record.run}.{stream}.{record.rank}.{record.kind}.{record.step}.{whole:08x}"
