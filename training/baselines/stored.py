"""A trained baseline as a file: arrays in the safetensors format, what it is and what it learned from in the header."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cdi.whole_file import whole_file

FORMAT = "crystal-defects-insitu baseline 1"


@dataclass(frozen=True, eq=False)
class StoredBaseline:
    """``kind`` as the registry names it, arrays by name, numbers to build it from, and ``facts`` about its training."""

    kind: str
    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    facts: dict[str, Any]


def save_baseline(baseline: StoredBaseline, path: Path) -> None:
    """Write ``baseline`` whole or not at all."""
    from safetensors.torch import save_file

    metadata = {
        "format": FORMAT,
        "kind": baseline.kind,
        "settings": json.dumps(baseline.settings),
        "facts": json.dumps(baseline.facts),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in baseline.tensors.items()}
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata)


def load_baseline(path: Path) -> StoredBaseline:
    """Read what ``save_baseline`` wrote.

    Raises
    ------
    ValueError
        If the file does not read or is no baseline.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} must be a baseline in the safetensors format, it does not read: {error}") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} must be of format {FORMAT!r}, got {header.get('format')!r}; train it again")
    return StoredBaseline(header["kind"], tensors, json.loads(header["settings"]), json.loads(header["facts"]))
