"""The file that a ring's frames spill to: most often by way of memory (``ring.staging``), else by its writer at once.

It is written to by calls of the system, and read by a mapping, which sees the same pages. Stores to a mapping would
take several times as long: whenever the system has written a page of it to the disk, the next store there is a fault.
Nor has a call that finds the disk full, or broken, to kill the process.
"""

import mmap
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.ring.mapping import existing_file, new_file


class SpillFile:
    """The file ``path`` of ``size`` bytes, open as ``descriptor``.

    Attributes
    ----------
    descriptor : of the file, open for as long as this lives.
    memory : its mapping, to read.
    """

    def __init__(self, path: Path, size: int, descriptor: int) -> None:
        self._path = path
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self.memory = mmap.mmap(descriptor, size)

    @classmethod
    def create(cls, path: Path, size: int) -> "SpillFile":
        """A new file, all of it reserved; raises as ``new_file``."""
        descriptor = new_file(path, size)
        try:
            return cls(path, size, descriptor)
        except OSError:
            path.unlink()
            raise

    @classmethod
    def open(cls, path: Path, size: int) -> "SpillFile":
        """The file that another process created.

        Raises
        ------
        ValueError
            If it is smaller.
        OSError
            If it cannot be read and written.
        """
        return cls(path, size, existing_file(path))

    def write(self, values: NDArray[Any], offset: int) -> None:
        """Write ``values`` in the order of C; raises as ``write_bytes``."""
        self.write_bytes(memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data), offset)

    def write_bytes(self, data: memoryview, offset: int) -> None:
        """Write ``data`` to ``offset`` bytes from the beginning.

        Raises
        ------
        OSError
            If the file does not take them.
        """
        done = 0
        while done < len(data):
            try:
                done += os.pwrite(self.descriptor, data[done:], offset + done)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self._path)) from error
