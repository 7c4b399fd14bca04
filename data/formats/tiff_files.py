"""TIFF: stacks of pages, single images, directories of frames (tifffile, Gohlke). Free of torch."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.formats.stack import Stack, StackOptions, check_announced

DARK, WHITEFIELD = "dark.tif", "whitefield.tif"


def read_tiff_stack(path: Path, options: StackOptions) -> Stack:
    """All pages of ``path``.

    Raises
    ------
    ValueError
        If it is damaged, too large, or no stack.
    """
    if options.dataset is not None:
        raise ValueError(f"--dataset must be left out for {path}: a TIFF file holds one stack")
    return Stack(read_tiff(path, check_announced))


def read_frames(directory: Path, options: StackOptions) -> Stack:
    """The frames of ``directory`` in the natural order of their names (…_9 before …_10).

    Raises
    ------
    ValueError
        If there is none, one is damaged, or they differ in size or type.
    """
    if options.dataset is not None:
        raise ValueError(f"--dataset must be left out for {directory}: it holds TIFF frames")
    paths = sorted(
        (p for p in directory.iterdir() if p.suffix.lower() in (".tif", ".tiff") and p.name not in (DARK, WHITEFIELD)),
        key=lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", p.name)],
    )
    if not paths:
        raise ValueError(f"{directory} must hold TIFF frames (*.tif), got none")
    first = read_image(paths[0])
    try:
        check_announced((len(paths), *first.shape), first.dtype)
    except ValueError as error:
        raise ValueError(f"{directory} is no readable stack: {error}") from error
    stack = np.empty((len(paths), *first.shape), first.dtype)
    for position, path in enumerate(paths):
        frame = read_image(path)
        if frame.shape != first.shape or frame.dtype != first.dtype:
            raise ValueError(
                f"frames in {directory} must be alike, got {first.shape} {first.dtype} in {paths[0].name} "
                f"and {frame.shape} {frame.dtype} in {path.name}"
            )
        stack[position] = frame
    return Stack(stack)


def read_image(path: Path) -> NDArray[Any]:
    """One TIFF image ``(rows, columns)``.

    Raises
    ------
    ValueError
        If it is truncated, no TIFF, or not a single image.
    """
    image = read_tiff(path)
    if image.ndim != 2:
        raise ValueError(f"{path} must hold one image (rows, columns), got shape {image.shape}")
    return image


def read_tiff(
    path: Path, check: Callable[[tuple[int, ...], np.dtype], None] = lambda shape, dtype: None
) -> NDArray[Any]:
    """All pages of a TIFF file as an array; a damaged file is one ``ValueError``.

    ``check`` sees shape and type that the header announces before any of it is read, and may raise.
    """
    import tifffile

    # tifffile logs what it then raises: one failure, one line.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            shape, dtype = tuple(series.shape), np.dtype(series.dtype)
    except FileNotFoundError:
        raise
    except Exception as error:  # its decoders raise whatever the damage makes them
        raise _damaged(path, error) from error
    try:
        check(shape, dtype)
        # A page of an image of more than a stack's size: the header of one frame can lie as well.
        check_announced((1, 1, int(np.prod(shape, dtype=object))), dtype)
    except ValueError as error:
        raise ValueError(f"{path} is no readable stack: {error}") from error
    try:
        image = np.asarray(tifffile.imread(path))
    except Exception as error:
        raise _damaged(path, error) from error
    if image.size == 0:
        raise ValueError(f"{path} must hold an image, it is empty or truncated")
    return image


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} must be a readable TIFF file, it is truncated or damaged ({' '.join(str(error).split())})"
    )
