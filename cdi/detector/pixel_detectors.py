"""Pixel detectors of the field, as a table with its sources. Free of torch.

Module and gap sizes are those of the detectors' descriptions in pyFAI (Kieffer & Ashiotis; Dectris,
ESRF and X-Spectrum detectors), and for the Merlin quad of bcdi (Carnis). Counter depths:
Timepix and Maxipix, 14-bit pseudo-random counter, Llopart et al., Nucl. Instrum. Methods A 581, 485
(2007); Medipix3 (Merlin, Lambda), both 12-bit counters as one, Ballabriga et al., J. Instrum. 8,
C02016 (2013); Pilatus, 20 bits, Kraft et al., J. Synchrotron Rad. 16, 368 (2009); Eiger, 12 bits,
Dinapoli et al., Nucl. Instrum. Methods A 650, 79 (2011); Eiger2, 16 bits, Donath et al.,
J. Synchrotron Rad. 30, 723 (2023). Beamlines often sum several readouts into one frame, which then
holds more.
"""

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class PixelDetector:
    """A pixel detector: square pixels of ``pixel_um``, modules and gaps (rows, columns) in pixels.

    ``counter`` is the most that a pixel counts in one readout. A detector of one module has no gap.
    """

    name: str
    pixel_um: float
    module: tuple[int, int]
    gap: tuple[int, int]
    counter: int


PIXEL_DETECTORS = {
    entry.name: entry
    for entry in (
        PixelDetector("timepix", 55.0, (256, 256), (0, 0), 11810),
        PixelDetector("maxipix", 55.0, (256, 256), (4, 4), 11810),
        PixelDetector("merlin", 55.0, (256, 256), (3, 3), 2**24 - 1),
        PixelDetector("lambda", 55.0, (256, 256), (4, 4), 2**24 - 1),
        PixelDetector("eiger", 75.0, (514, 1030), (37, 10), 2**12 - 1),
        PixelDetector("eiger2", 75.0, (512, 1028), (38, 12), 2**16 - 1),
        PixelDetector("pilatus", 172.0, (195, 487), (17, 7), 2**20 - 1),
    )
}


def pixel_detector(name: str) -> PixelDetector:
    """The table's entry of ``name``.

    Raises
    ------
    ValueError
        If the table has no such detector; the message lists the choices.
    """
    if name not in PIXEL_DETECTORS:
        near = get_close_matches(name, PIXEL_DETECTORS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"detector must be one of {', '.join(PIXEL_DETECTORS)}, got {name!r}{hint}")
    return PIXEL_DETECTORS[name]
