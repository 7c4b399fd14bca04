"""The frozen set: whatever is learnt, the same frames judge it; that they are the same is checked each time."""

import hashlib
import json
from pathlib import Path

from cdi.errors import RunError
from cdi.whole_file import whole_file
from inference_insitu.transit.learning.examples import Example
from inference_insitu.transit.learning.plugin import Trainer, frozen_examples
from inference_insitu.transit.operators.versions import file_sha256

NAME = "frozen.json"


class FrozenSet:
    """The data set at ``path``; its hash stands in ``folder`` from the first life on.

    Raises
    ------
    ValueError, OSError
        If it cannot be read.
    RunError
        If it is not what it was in an earlier life.
    """

    def __init__(self, path: Path, folder: Path, trainer: Trainer) -> None:
        self.path, self._kept = path, folder / NAME
        self.sha256 = data_sha256(path)
        if self._kept.exists():
            self.check()
        else:
            with whole_file(self._kept) as file:
                file.write_text(json.dumps({"path": str(path), "sha256": self.sha256}) + "\n")
        self.examples: list[Example] = frozen_examples(trainer, path)

    def check(self) -> None:
        """It is still what it was.

        Raises
        ------
        RunError
            If it is not.
        """
        try:
            before = str(json.loads(self._kept.read_text())["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self._kept} must hold the frozen set's hash, got: {error}") from error
        now = data_sha256(self.path)
        if now != before:
            raise RunError(
                f"the frozen set {self.path} must stay as it was (SHA-256 {before[:16]}…), got {now[:16]}…: versions "
                f"cannot be compared over it any more; give it back, or learn in a new run"
            )


def data_sha256(path: Path) -> str:
    """Hash of a file, or of the names and contents of all files in a folder.

    Raises
    ------
    ValueError
        If there is none, or it cannot be read.
    """
    if not path.is_dir():
        return file_sha256(path)
    found = hashlib.sha256()
    files = sorted(one for one in path.rglob("*") if one.is_file())
    if not files:
        raise ValueError(f"{path} must hold a data set, got an empty folder")
    for one in files:
        found.update(f"{one.relative_to(path)}\0{file_sha256(one)}\n".encode())
    return found.hexdigest()
