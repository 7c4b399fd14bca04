"""One file over all shards: virtual datasets, no copies, relative paths."""

from pathlib import Path

import h5py

from data.layout import LAYOUT
from data.recipe import Recipe
from data.store_writer import describe, root_attributes


def join_shards(shards: list[Path], path: Path, recipe: Recipe) -> None:
    """Write at ``path``, in the shards' directory, a file that reads as their concatenation.

    The whole directory can be moved; a shard alone cannot be taken away: HDF5 would read zeros
    in its place, which ``data.store.SampleFile`` refuses.
    """
    shapes = [_shapes(shard) for shard in shards]
    with h5py.File(path, "w", libver="latest") as joined:
        joined.attrs.update(root_attributes(recipe))
        for name, column in LAYOUT.items():
            rows = [shape[name][0] for shape in shapes]
            tail = shapes[0][name][1:]
            layout = h5py.VirtualLayout((sum(rows), *tail), column.dtype)
            start = 0
            for shard, count in zip(shards, rows, strict=True):
                if count:
                    layout[start : start + count] = h5py.VirtualSource(shard.name, name, (count, *tail), column.dtype)
                start += count
            dataset = (
                joined.create_virtual_dataset(name, layout)
                if start
                else joined.create_dataset(name, (0, *tail), column.dtype)
            )
            describe(dataset, column)


def _shapes(shard: Path) -> dict[str, tuple[int, ...]]:
    with h5py.File(shard) as file:
        return {name: file[name].shape for name in LAYOUT}
