"""The earlier runs: their tables of results, for views that ask how unusual a step is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference_insitu.transit.results.results_table import parts, read_table
from inference_insitu.transit.results.rows import COLUMNS


def history_folders(folder: str) -> list[Path]:
    """The folders with tables in ``folder``, itself or below; none for ''.

    Raises
    ------
    ValueError
        If there is no such folder.
    """
    if not folder:
        return []
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"history must be a folder with tables of earlier runs, got {folder!r}")
    within = {path.parent for path in root.rglob("part-*.parquet")}
    return sorted(one for one in within if parts(one))


def history_rows(folder: str) -> Iterator[dict[str, Any]]:
    """The rows of all earlier runs in ``folder``.

    Raises
    ------
    ValueError
        If there is no such folder.
    """
    for one in history_folders(folder):
        for batch in read_table(one).select([*COLUMNS]).to_batches(max_chunksize=4096):
            yield from batch.to_pylist()
