"""Arrays in VTK's XML formats, as text or base64 (VTK User's Guide, Kitware, 11th ed., section 19.3). Free of torch.

VTK's own library is a large dependency for a few lines of XML; tests read what is written with it.
"""

import base64
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

TYPES = {"f": "Float64", "i": "Int64", "u": "Int64"}
"""VTK's name of the type by the kind of NumPy's, for arrays in text."""
BINARY_TYPES = {"float32": "Float32", "float64": "Float64", "uint8": "UInt8", "int64": "Int64"}


def checked_suffix(path: str | Path, *suffixes: str) -> Path:
    """``path`` if ParaView will know it for what it is: asked before work, not after.

    Raises
    ------
    ValueError
        If it ends otherwise.
    """
    if Path(path).suffix not in suffixes:
        raise ValueError(f"vtk output must end in {' or '.join(suffixes)}, got {str(path)!r}")
    return Path(path)


def vtk_file(kind: str) -> ElementTree.Element:
    """The root of a file of ``kind``, e.g. PolyData."""
    return ElementTree.Element("VTKFile", type=kind, version="1.0", byte_order="LittleEndian", header_type="UInt64")


def add_text(parent: ElementTree.Element, name: str, values: NDArray[np.generic]) -> None:
    """A small array (n,) or (n, components) as text that reads back as the same numbers."""
    columns = values[:, None] if values.ndim == 1 else values
    array = _array(parent, name, TYPES[values.dtype.kind], columns.shape[1])
    array.set("format", "ascii")
    # repr of a float reads back as the same number.
    array.text = "\n".join(" ".join(map(repr, row)) for row in columns.tolist())


def add_binary(parent: ElementTree.Element, name: str, values: NDArray[np.generic]) -> None:
    """An array (n,) or (n, components) of points as base64: length in bytes, then the bytes."""
    array = _array(parent, name, BINARY_TYPES[values.dtype.name], 1 if values.ndim == 1 else values.shape[1])
    array.set("format", "binary")
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    array.text = base64.b64encode(np.uint64(len(plain)).astype("<u8").tobytes() + plain).decode()


def write_vtk(path: str | Path, root: ElementTree.Element) -> None:
    """Write the file, whole or not at all."""
    from cdi.whole_file import whole_file

    with whole_file(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def _array(parent: ElementTree.Element, name: str, kind: str, components: int) -> ElementTree.Element:
    array = ElementTree.SubElement(parent, "DataArray", type=kind, Name=name)
    array.set("NumberOfComponents", str(components))
    return array
