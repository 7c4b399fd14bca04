"""Numbers by which files of an analysis are told apart: one for each time that it is loaded beside others."""

import os
from pathlib import Path


def claimed_life(folder: Path) -> int:
    """A number that nobody else who asks for ``folder``, which is made, has taken or will take."""
    folder.mkdir(parents=True, exist_ok=True)
    life = 0
    while True:
        try:
            os.close(os.open(folder / f"life-{life}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            life += 1
        else:
            return life
