"""Files that exist whole or not at all: written under another name, synced, then renamed.

``os.replace`` within one directory is atomic (POSIX ``rename``), so a reader, or a restart after
a kill, sees the old file, the new file, or none. What a killed writer leaves behind ends in
``.tmp``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def whole_file(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends without an error.

    Raises
    ------
    ValueError
        If ``path`` is a directory, its directory does not exist, or it exists while
        ``overwrite`` is False.
    OSError
        If writing fails; nothing is left behind then.
    """
    target = check_output(path, overwrite=overwrite)
    temporary = target.with_name(f".{target.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: str | Path, *, overwrite: bool) -> Path:
    """``path`` if a file may be written there: asked before hours of work, not after."""
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"output must be a file, got the directory {target}")
    if not target.parent.is_dir():
        raise ValueError(
            f"output must lie in an existing directory, got {target}; make it with: mkdir -p {target.parent}"
        )
    if not os.access(target.parent, os.W_OK):
        raise ValueError(f"output must lie in a directory that you may write to, got {target}")
    if target.exists() and not overwrite:
        raise ValueError(f"output must not exist yet, got {target}; give --overwrite to replace it")
    return target


def remove_leftovers(directory: Path) -> None:
    """Delete what killed writers left in ``directory``."""
    for leftover in directory.glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush to the disk: a rename must not reach it before the bytes do."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
