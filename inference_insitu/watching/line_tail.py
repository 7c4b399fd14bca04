"""Reading files that still grow: whole lines only, from where the last reading ended."""

from pathlib import Path

BLOCK_BYTES = 8 * 1024 * 1024
LONGEST_LINE_BYTES = 4 * 1024 * 1024


class LineTail:
    """New whole lines of ``path`` at each ``read``; an incomplete last line waits for its end.

    A file that was replaced or became shorter is read from its start, and ``replaced`` says so from
    then on. With ``last_bytes`` the first reading skips what lies before the file's last so many bytes.
    """

    def __init__(self, path: Path, *, last_bytes: int | None = None) -> None:
        self.path = path
        self.replaced = False
        self._last_bytes = last_bytes
        self._offset = 0
        self._seen = 0
        self._identity: tuple[int, int] | None = None
        self._within_line = False

    def read(self) -> list[str]:
        """Whole lines since the last call, without their ends, about 8 MB of them at most.

        None where nothing was added, or the file cannot be read. A line of more than 4 MB is passed over.
        """
        try:
            status = self.path.stat()
            identity = (status.st_dev, status.st_ino)
            if identity == self._identity and status.st_size == self._seen:
                return []
            skipped = self._begin(identity, status.st_size)
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(BLOCK_BYTES)
                if data and not data.endswith(b"\n"):
                    data += file.readline(LONGEST_LINE_BYTES)
        except OSError:
            return []
        whole = data.rfind(b"\n") + 1
        self._seen = self._offset + len(data)
        skipped = skipped or self._within_line
        self._within_line = len(data) - whole >= LONGEST_LINE_BYTES or (skipped and not whole)
        # What is longer than any line is passed over with its end, not waited for.
        self._offset += len(data) if self._within_line else whole
        lines = data[:whole].decode("utf-8", "replace").split("\n")[:-1]
        return lines[1:] if skipped else lines

    def _begin(self, identity: tuple[int, int], size: int) -> bool:
        """Set the offset for a file seen anew; whether it now stands within a line."""
        if identity == self._identity and size >= self._offset:
            return False
        self.replaced = self.replaced or self._identity is not None
        self._identity, self._offset, self._within_line = identity, 0, False
        if self._last_bytes is None or size <= self._last_bytes:
            return False
        self._offset = size - self._last_bytes
        return True
