"""The file that a ring's writer spills frames to.

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

from inference_insitu.ring.mapping import new_file


class SpillFile:
    """A new file ``path`` of ``size`` bytes, all of them reserved; raises as ``new_file``.

    Attributes
    ----------
    descriptor : of the file, open for as long as this lives.
    memory : its mapping, to read.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.descriptor = new_file(path, size)
        weakref.finalize(self, os.close, self.descriptor)
        try:
            self.memory = mmap.mmap(self.descriptor, size)
        except OSError:
            path.unlink()
            raise

    def write(self, values: NDArray[Any], offset: int) -> None:
        """Write ``values`` in the order of C to ``offset`` bytes from the beginning.

        Raises
        ------
        OSError
            If the file does not take them.
        """
        data = memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        done = 0
        while done < len(data):
            try:
                done += os.pwrite(self.descriptor, data[done:], offset + done)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self._path)) from error
