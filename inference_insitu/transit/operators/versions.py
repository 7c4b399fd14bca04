"""Versions of a run's analyses: the configured one is number 0; later ones are options laid over its own.

Each is a small JSON file in the folder ``versions`` of the job, ``<analysis>-<number>.json``, written once, beside the
weights that it names. Whoever loads it checks that these are still what they were.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cdi.config import read_object
from cdi.requirements import require
from cdi.whole_file import whole_file

FOLDER = "versions"
MOST_VERSIONS = 1 << 20
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Version:
    """One version of ``analysis``.

    Parameters
    ----------
    number : 1 or more; 0 is the configured one, which needs no file.
    options : laid over those of the configuration, mapping by mapping.
    files : SHA-256 of each file that they name, by path: it must still be so when they are loaded.
    of : the version from which it was made.
    record : how it was made and what it was found to be worth, for people.
    """

    analysis: str
    number: int
    options: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    of: int = 0
    record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(1 <= self.number <= MOST_VERSIONS, "number", f"lie in [1, {MOST_VERSIONS}]", self.number)
        require(bool(self.options), "options", "change something", self.options)
        for path, digest in self.files.items():
            require(bool(_HASH.fullmatch(digest)), f"files[{path!r}]", "be a SHA-256 in hexadecimal", digest)

    def over(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """``options`` of the configuration with this version's laid over them.

        Raises
        ------
        ValueError
            If a file that they name is not there, or not what it was.
        """
        for path, digest in self.files.items():
            found = file_sha256(Path(path))
            if found != digest:
                raise ValueError(
                    f"{path} of version {self.number} of {self.analysis} must be of SHA-256 {digest[:16]}…, "
                    f"got {found[:16]}…: it was changed since it was validated"
                )
        return _laid_over(options, self.options)


class Versions:
    """The versions in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, analysis: str, number: int, suffix: str = ".json") -> Path:
        """Where version ``number`` is described, or its file with another ``suffix`` is."""
        return self.folder / f"{quote(analysis, safe='')}-{number}{suffix}"

    def next_number(self, analysis: str) -> int:
        """One that no version has."""
        pattern = re.compile(re.escape(quote(analysis, safe="")) + r"-(\d+)\.json")
        found = [int(match[1]) for path in self.folder.glob("*.json") if (match := pattern.fullmatch(path.name))]
        return max(found, default=0) + 1

    def write(self, version: Version) -> Path:
        """Keep ``version``, once.

        Raises
        ------
        ValueError
            If there is one of that number.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path(version.analysis, version.number), overwrite=False) as file:
            file.write_text(json.dumps(asdict(version), indent=1, allow_nan=False) + "\n")
        return self.path(version.analysis, version.number)

    def read(self, analysis: str, number: int) -> Version:
        """Version ``number`` of ``analysis``.

        Raises
        ------
        ValueError
            If there is none, or its file is damaged or of another one.
        """
        path = self.path(analysis, number)
        try:
            values: Any = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise ValueError(f"version {number} of {analysis} must be described in {path}, got no such file") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} must be the description of a version, got: {error}") from error
        require(isinstance(values, dict), str(path), "hold an object", type(values).__name__)
        version = read_object(Version, values, origin=str(path))
        if (version.analysis, version.number) != (analysis, number):
            raise ValueError(
                f"{path} must be of version {number} of {analysis}, got {version.number} of {version.analysis}"
            )
        return version


def file_sha256(path: Path) -> str:
    """Hash of the file at ``path``.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} must be a file that can be read, got: {error.strerror}") from error


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for name, value in above.items():
        inner = found.get(name)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            found[name] = _laid_over(inner, value)
        else:
            found[name] = value
    return found
