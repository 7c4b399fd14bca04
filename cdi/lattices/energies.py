"""Energies of surfaces and stacking faults, as tables with their sources.

Surface energies in J/m² at 0 K decide the Wulff shape; only their ratios enter it. Facets are
Miller indices of the conventional cell; in hcp (0, 0, 1) is the basal plane and (1, 0, 0) the
prismatic plane {10-10}.

- fcc, bcc and hcp metals: density functional theory, Vitos, Ruban, Skriver & Kollár, Surf. Sci.
  411, 186 (1998), table 1.
- Si, Ge: from bond counting and the heat of sublimation, Jaccodine, J. Electrochem. Soc. 110, 524 (1963).
- Rock salts: cleavage along {100}, Gilman, J. Appl. Phys. 31, 2208 (1960). Other facets cost at least
  twice as much in these crystals: their Wulff shape is the cube.

Stacking-fault energies in mJ/m²: experimental, intrinsic fault in fcc, as collected by Hirth & Lothe,
Theory of Dislocations, 2nd ed. (1982), appendix 2, and Murr, Interfacial Phenomena in Metals and
Alloys (1975). Published values scatter by tens of per cent.
"""

Facet = tuple[int, int, int]

_FCC: tuple[Facet, ...] = ((1, 1, 1), (1, 0, 0), (1, 1, 0))
_BCC: tuple[Facet, ...] = ((1, 1, 0), (1, 0, 0), (2, 1, 1), (1, 1, 1))
_HCP: tuple[Facet, ...] = ((0, 0, 1), (1, 0, 0))
_CUBE: tuple[Facet, ...] = ((1, 0, 0),)


def _table(facets: tuple[Facet, ...], rows: dict[str, tuple[float, ...]]) -> dict[str, dict[Facet, float]]:
    return {name: dict(zip(facets, row, strict=True)) for name, row in rows.items()}


SURFACE_ENERGIES: dict[str, dict[Facet, float]] = {
    **_table(
        _FCC,
        {
            "Al": (1.199, 1.347, 1.271),
            "Ni": (2.011, 2.426, 2.368),
            "Cu": (1.952, 2.166, 2.237),
            "Pd": (1.920, 2.326, 2.225),
            "Ag": (1.172, 1.200, 1.238),
            "Ir": (2.971, 3.722, 3.606),
            "Pt": (2.299, 2.734, 2.819),
            "Au": (1.283, 1.627, 1.700),
            "Pb": (0.321, 0.377, 0.445),
            "Si": (1.230, 2.130, 1.510),
            "Ge": (1.060, 1.835, 1.300),
        },
    ),
    **_table(
        _BCC,
        {
            "V": (3.258, 3.028, 3.443, 3.541),
            "Cr": (3.505, 3.979, 3.892, 4.123),
            "Fe": (2.430, 2.222, 2.589, 2.733),
            "Nb": (2.685, 2.858, 2.829, 3.045),
            "Mo": (3.454, 3.837, 3.600, 3.740),
            "Ta": (3.084, 3.097, 3.256, 3.455),
            "W": (4.005, 4.635, 4.177, 4.452),
        },
    ),
    **_table(
        _HCP,
        {
            "Be": (1.834, 2.126),
            "Mg": (0.792, 0.782),
            "Ti": (2.632, 2.516),
            "Co": (2.775, 3.035),
            "Zr": (2.260, 2.111),
        },
    ),
    **_table(_CUBE, {"LiF": (0.340,), "NaCl": (0.300,), "KCl": (0.110,), "MgO": (1.200,)}),
}
"""J/m² of each facet family, by material."""

STACKING_FAULT_ENERGIES: dict[str, float] = {
    "Al": 166.0,
    "Ni": 125.0,
    "Cu": 45.0,
    "Pd": 180.0,
    "Ag": 16.0,
    "Ir": 300.0,
    "Pt": 322.0,
    "Au": 32.0,
    "Pb": 25.0,
}
"""mJ/m² of the intrinsic fault, by fcc metal."""
