"""Polylines for ParaView: what is written reads back, by XML and by VTK where it is at hand."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from data.formats.vtk_lines import write_vtk_lines

LINES = [np.array([[0.1, -2, 3], [1 / 3, 5, 6], [7, 8, 1e-9]]), np.array([[1.0, 1, 2], [-3, 4, 4]])]
NUMBERS = {"confidence": [0.25, 0.75], "burgers_A": [[1.0, np.nan, 3], [4, 5, 6]], "line": [0, 1]}


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every DataArray of the file by its name."""
    found = ElementTree.parse(path).getroot().iter("DataArray")
    return {
        str(array.get("Name")): np.array((array.text or "").split(), float).reshape(
            -1, int(array.get("NumberOfComponents", "1"))
        )
        for array in found
    }


def test_lines_and_their_numbers_read_back_exactly(tmp_path: Path) -> None:
    write_vtk_lines(tmp_path / "lines.vtp", LINES, NUMBERS)
    found = arrays(tmp_path / "lines.vtp")
    ends = found["offsets"][:, 0].astype(int)
    assert ends.tolist() == [3, 5]
    points = found["points"][found["connectivity"][:, 0].astype(int)]
    for line, wanted in zip(np.split(points, ends[:-1]), LINES, strict=True):
        np.testing.assert_array_equal(line, wanted)
    np.testing.assert_array_equal(found["burgers_A"], NUMBERS["burgers_A"])
    np.testing.assert_array_equal(found["confidence"][:, 0], NUMBERS["confidence"])


def test_vtk_itself_reads_the_file(tmp_path: Path) -> None:
    """Two routes: Kitware's reader finds the same polylines and cell data."""
    pytest.importorskip("vtkmodules.vtkIOXML", reason="VTK is not installed")
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    write_vtk_lines(tmp_path / "lines.vtp", LINES, NUMBERS)
    reader = vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "lines.vtp"))
    reader.Update()
    found = reader.GetOutput()
    assert found.GetNumberOfLines() == 2
    np.testing.assert_array_equal(vtk_to_numpy(found.GetPoints().GetData()), np.concatenate(LINES))
    second = found.GetCell(1).GetPointIds()
    assert [second.GetId(i) for i in range(second.GetNumberOfIds())] == [3, 4]
    for name, wanted in NUMBERS.items():
        np.testing.assert_array_equal(vtk_to_numpy(found.GetCellData().GetArray(name)), wanted)


def test_no_line_is_an_empty_file_of_the_format(tmp_path: Path) -> None:
    write_vtk_lines(tmp_path / "lines.vtp", [], {"windings": np.empty((0, 2))})
    piece = next(ElementTree.parse(tmp_path / "lines.vtp").getroot().iter("Piece"))
    assert (piece.get("NumberOfLines"), piece.get("NumberOfPoints")) == ("0", "0")


@pytest.mark.parametrize(
    ("name", "lines", "numbers", "says"),
    [
        ("lines.vtk", LINES, {}, r"vtk output must end in .vtp or .vtu, got .*lines.vtk"),
        ("a.vtp", [np.zeros((1, 3))], {}, r"lines must have shape \(n, 3\) with n of at least 2, got \(1, 3\)"),
        ("a.vtp", LINES, {"confidence": [1.0]}, r"confidence must have one row for each of 2 lines, got shape \(1,\)"),
    ],
)
def test_what_is_no_line_is_refused(tmp_path: Path, name: str, lines: list, numbers: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        write_vtk_lines(tmp_path / name, lines, numbers)
    assert not list(tmp_path.iterdir())
