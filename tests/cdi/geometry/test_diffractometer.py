"""Diffractometers as data: rotations by name, published conventions, the arm brought to a direction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cdi.geometry.diffractometer import DIFFRACTOMETERS, Circle, Diffractometer, diffractometer_named, turned

angles = st.floats(-170, 170)
FOUR_CIRCLES = (Circle("eta", "x-"), Circle("phi", "y-")), (Circle("nu", "y+"), Circle("delta", "x-"))


def test_a_positive_sense_turns_y_into_z_about_x() -> None:
    assert_allclose(turned([0, 1, 0], [1, 0, 0], np.pi / 2), [0, 0, 1], atol=1e-16)
    assert_allclose(Circle("c", "x-").turn([0, 1, 0], 90.0), [0, 0, -1], atol=1e-16)


@given(st.tuples(*[st.floats(-3, 3)] * 3), st.lists(st.floats(-9, 9), min_size=1, max_size=4))
def test_turning_is_the_rotation_of_scipy(rotation_vector: tuple[float, ...], many: list[float]) -> None:
    length = float(np.linalg.norm(rotation_vector))
    axis = np.divide(rotation_vector, length) if length > 1e-3 else np.array([0.0, 0.6, 0.8])
    vectors = np.array([[0.3, -1.2, 2.0]] * len(many))
    expected = Rotation.from_rotvec(np.outer(many, axis)).apply(vectors)
    assert_allclose(turned(vectors, axis, np.array(many)), expected, atol=1e-14)


@given(st.fixed_dictionaries(dict.fromkeys(("mu", "eta", "chi", "phi", "nu", "delta"), angles)))
def test_six_circles_are_those_of_you(readings: dict[str, float]) -> None:
    """You (1999): Z = M H X Φ and k_f = k (sin δ, cos δ cos ν, cos δ sin ν) in his axes x up, y along the beam."""
    you_to_us = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    angle = {n: np.radians(value) for n, value in readings.items()}
    senses = (("mu", [1, 0, 0]), ("eta", [0, 0, -1]), ("chi", [0, 1, 0]), ("phi", [0, 0, -1]))
    rotation = np.eye(3)
    for name, axis in senses:
        rotation = rotation @ Rotation.from_rotvec(angle[name] * np.array(axis)).as_matrix()
    diffractometer = DIFFRACTOMETERS["You 4S+2D"]
    sample = diffractometer.from_sample(np.eye(3), readings).T
    assert_allclose(sample, you_to_us @ rotation @ you_to_us.T, atol=1e-14)
    s, c = np.sin, np.cos
    exit_you = [s(angle["delta"]), c(angle["delta"]) * c(angle["nu"]), c(angle["delta"]) * s(angle["nu"])]
    assert_allclose(diffractometer.from_arm([0, 0, 1], readings), you_to_us @ exit_you, atol=1e-14)


@given(st.fixed_dictionaries(dict.fromkeys(("mu", "eta", "chi", "phi"), angles)))
def test_p10_is_a_six_circle_of_you_with_another_zero_of_the_sample(readings: dict[str, float]) -> None:
    """χ counted from 90° with φ about y− is You's stage, the sample turned by 90° about the beam on it."""
    p10 = {"om" if name == "eta" else name: value for name, value in readings.items()}
    quarter = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    assert_allclose(
        DIFFRACTOMETERS["P10"].from_sample(quarter.T, p10),
        DIFFRACTOMETERS["You 4S+2D"].from_sample(np.eye(3), readings),
        atol=1e-14,
    )


@pytest.mark.parametrize("name", sorted(DIFFRACTOMETERS))
def test_the_arm_comes_back_to_where_it_pointed(name: str) -> None:
    diffractometer = DIFFRACTOMETERS[name]
    outer, inner = diffractometer.arm[-2:]
    generator = np.random.default_rng(5)
    for alpha, beta in generator.uniform((-175, -85), (175, 85), (20, 2)):
        fixed = {"beta": 3.0} if name == "SIXS" else {}
        readings = {**fixed, outer.name: alpha, inner.name: beta}
        direction = diffractometer.from_arm([0, 0, 1], readings)
        found = diffractometer.arm_angles(direction, fixed)
        assert found == pytest.approx({outer.name: alpha, inner.name: beta}, abs=1e-9)


def test_zeros_of_the_arm_are_kept() -> None:
    shifted = Diffractometer("shifted", FOUR_CIRCLES[0], (Circle("nu", "y-", 4.0), Circle("delta", "x+", -7.0)))
    direction = shifted.from_arm([0, 0, 1], {"nu": 20.0, "delta": 11.0})
    assert shifted.arm_angles(direction, {}) == pytest.approx({"nu": 20.0, "delta": 11.0})
    assert_allclose(shifted.from_arm([0, 0, 1], {}), [0, 0, 1])


def test_positive_arm_angles_lift_the_detector_everywhere() -> None:
    """In every published convention here the inner circle of the arm raises it; the outer one turns about ±y."""
    for diffractometer in DIFFRACTOMETERS.values():
        assert diffractometer.from_arm([0, 0, 1], {diffractometer.arm[-1].name: 20.0})[1] > 0
        assert diffractometer.from_arm([0, 0, 1], {diffractometer.arm[-2].name: 20.0})[1] == 0


def test_a_circle_that_carries_the_arm_does_not_rock() -> None:
    sixs = DIFFRACTOMETERS["SIXS"]
    assert sixs.rocking_circles == ("mu",)
    with pytest.raises(ValueError, match="rocking circle of SIXS must be one of mu, got 'beta'"):
        sixs.rocking_axis("beta", {})


@pytest.mark.parametrize(("wrong", "near"), [("34idc", "34-ID-C"), ("id01", "ID01"), ("Nanomax", "NanoMAX")])
def test_an_unknown_diffractometer_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"diffractometer must be one of .*, got '{wrong}' \(did you mean '{near}'\?"):
        diffractometer_named(wrong)


def test_a_known_diffractometer_is_found() -> None:
    assert diffractometer_named("ID01").rocking_circles == ("mu", "eta", "phi")


def test_an_axis_of_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"axis of circle chi must be one of x\+, .*, got 'z'"):
        Circle("chi", "z")


def test_a_zero_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="zero_deg of circle chi must be finite, got nan"):
        Circle("chi", "z+", float("nan"))


def test_a_detector_along_the_beam_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows, columns and beam must be mutually perpendicular, got y-, z-"):
        Diffractometer("d", *FOUR_CIRCLES, columns="z-")


def test_one_name_for_two_circles_is_refused() -> None:
    with pytest.raises(ValueError, match="circles of one name must have one axis and one zero, got eta, eta, nu"):
        Diffractometer("d", (Circle("eta", "x-"), Circle("eta", "y-")), FOUR_CIRCLES[1])


@pytest.mark.parametrize("arm", [(Circle("nu", "y+"),), (Circle("nu", "y+"), Circle("roll", "z+"))])
def test_an_arm_that_cannot_reach_a_direction_is_refused(arm: tuple[Circle, ...]) -> None:
    with pytest.raises(ValueError, match="arm must end in two circles perpendicular to each other and to the beam"):
        Diffractometer("d", FOUR_CIRCLES[0], arm)
