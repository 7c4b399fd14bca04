"""VTK itself, ParaView's library, reads the volumes and lines that are written: values, places, vectors."""

from pathlib import Path

import numpy as np
import pytest

from data.formats.vtk_lines import write_vtk_lines
from data.formats.vtk_volumes import write_vtk_volumes

SHAPE = (5, 6, 7)
RNG = np.random.default_rng(8)
SCALAR, VECTOR = RNG.normal(size=SHAPE).astype(np.float32), RNG.normal(size=(3, *SHAPE))
SHEARED = np.diag([1.0, 2, 3]) + RNG.normal(size=(3, 3)) * 0.1
TURN = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
TURNED = np.diag([1.0, 2, 3]) @ (TURN * np.sign(np.linalg.det(TURN)))


def read(path: Path, reader: str) -> object:
    source = getattr(pytest.importorskip("vtkmodules.vtkIOXML"), reader)()
    source.SetFileName(str(path))
    source.Update()
    return source.GetOutput()


@pytest.mark.parametrize(
    ("suffix", "reader", "step"),
    [(".vts", "vtkXMLStructuredGridReader", SHEARED), (".vti", "vtkXMLImageDataReader", TURNED)],
)
def test_every_value_stands_at_its_point(tmp_path: Path, suffix: str, reader: str, step: np.ndarray) -> None:
    """Steps of different lengths and directions; the origin of the grid is at index N // 2 plus ``centre``."""
    path = tmp_path / f"a{suffix}"
    write_vtk_volumes(path, {"density": SCALAR, "u": VECTOR, "inside": SCALAR > 0}, step, [1.0, -2.0, 0.5])
    found = read(path, reader)
    support = pytest.importorskip("vtkmodules.util.numpy_support")
    values = {n: support.vtk_to_numpy(found.GetPointData().GetArray(n)) for n in ("density", "u", "inside")}
    np.testing.assert_array_equal(values["density"].reshape(SHAPE, order="F"), SCALAR)
    np.testing.assert_array_equal(values["inside"].reshape(SHAPE, order="F"), SCALAR > 0)
    for index in [(0, 0, 0), (2, 3, 4), (4, 5, 6), (1, 0, 3)]:
        number = index[0] + SHAPE[0] * (index[1] + SHAPE[1] * index[2])
        wanted = (np.array(index) - np.array(SHAPE) // 2) @ step + [1.0, -2.0, 0.5]
        np.testing.assert_allclose(found.GetPoint(number), wanted, atol=1e-12)
        np.testing.assert_array_equal(values["u"][number], VECTOR[(slice(None), *index)])


@pytest.mark.parametrize(
    ("suffix", "reader"), [(".vtp", "vtkXMLPolyDataReader"), (".vtu", "vtkXMLUnstructuredGridReader")]
)
def test_lines_are_cells_with_their_numbers(tmp_path: Path, suffix: str, reader: str) -> None:
    lines = [RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3))]
    write_vtk_lines(tmp_path / f"a{suffix}", lines, {"confidence": [0.5, 0.75]})
    found = read(tmp_path / f"a{suffix}", reader)
    assert found.GetNumberOfCells() == 2
    assert [found.GetCell(n).GetClassName() for n in (0, 1)] == ["vtkPolyLine"] * 2
    points = found.GetCell(1).GetPoints()
    np.testing.assert_array_equal([points.GetPoint(n) for n in range(3)], lines[1])
    assert found.GetCellData().GetArray("confidence").GetValue(1) == 0.75


@pytest.mark.parametrize(
    ("name", "volumes", "step", "message"),
    [
        ("a.vtk", {"v": SCALAR}, TURNED, r"vtk output must end in .vti or .vts"),
        ("a.vti", {"v": SCALAR}, SHEARED, "must end in .vts here: the voxels are sheared"),
        ("a.vti", {"v": SCALAR}, -TURNED, "sheared or left-handed"),
        ("a.vts", {}, TURNED, "volumes must be one or more of one shape, got none"),
        ("a.vts", {"v": SCALAR, "w": SCALAR[1:]}, TURNED, "volumes must be one or more of one shape"),
        ("a.vts", {"v": SCALAR * 1j}, TURNED, "v must be real"),
    ],
)
def test_what_vtk_cannot_hold_is_refused(
    tmp_path: Path, name: str, volumes: dict[str, np.ndarray], step: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_vtk_volumes(tmp_path / name, volumes, step, np.zeros(3))
    assert not list(tmp_path.iterdir())
