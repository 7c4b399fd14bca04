"""The table of detectors against published frame sizes."""

import pytest

from cdi.detector.pixel_detectors import PIXEL_DETECTORS, pixel_detector


@pytest.mark.parametrize(
    ("name", "modules", "frame"),
    [
        ("maxipix", (1, 5), (256, 1296)),
        ("merlin", (2, 2), (515, 515)),
        ("lambda", (2, 6), (516, 1556)),
        ("eiger", (4, 2), (2167, 2070)),
        ("eiger2", (8, 4), (4362, 4148)),
        ("pilatus", (12, 5), (2527, 2463)),
    ],
)
def test_modules_and_gaps_add_up_to_the_published_frame(
    name: str, modules: tuple[int, int], frame: tuple[int, int]
) -> None:
    """Maxipix 5×1, Merlin quad, Lambda 750k, Eiger 4M, Eiger2 16M and Pilatus 6M, in rows × columns."""
    detector = pixel_detector(name)
    size = [n * m + (n - 1) * g for n, m, g in zip(modules, detector.module, detector.gap, strict=True)]
    assert tuple(size) == frame


def test_a_chip_of_the_medipix_family_is_14_mm_wide() -> None:
    """256 pixels of 55 µm (Llopart et al. 2007: 14 × 14 mm²)."""
    family = [PIXEL_DETECTORS[name] for name in ("timepix", "maxipix", "merlin", "lambda")]
    assert all(detector.pixel_um * detector.module[0] == pytest.approx(14080) for detector in family)


def test_an_unknown_detector_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"detector must be one of timepix, .*, got 'eigr'; did you mean 'eiger'\?"):
        pixel_detector("eigr")
