"""A refinement in words: what ``cdi refine`` prints. Free of torch."""

from collections.abc import Iterator, Mapping
from typing import Any

from models.burgers_name import burgers_name

SHOWN_CANDIDATES = 6


def report(told: Mapping[str, Any]) -> Iterator[str]:
    """Lines of text from the object that ``--json`` prints."""
    unit = "voxels" if told["unit"] == "voxel" else "Å"
    best = told["hypotheses"][0]
    yield f"patterns     {len(told['patterns'])}" + (f" of {told['lattice']}" if told["lattice"] else "")
    yield f"best         {told['best']}: {best['lines']} line{'' if best['lines'] == 1 else 's'}"
    probability = told["defect_probability"]
    yield "P(defect)    " + ("not asked: interrupted" if probability is None else f"{probability:.3f}")
    yield f"free         {told['object']['free_deviance']:.4g} per held-out voxel ({told['object']['kind']} object)"
    for line in told["lines"]:
        first, last = (line["points"][end] for end in (0, -1))
        error = "" if line["standard_error"] is None else f" ± {line['standard_error']:.2g}"
        sure = "not asked" if line["confidence"] is None else f"{line['confidence']:.2f}"
        yield f"  from {first} to {last} {unit}{error}, confidence {sure}"
        names = [burgers_name(b) for b in line["burgers_candidates"]]
        more = ", …" if len(names) > SHOWN_CANDIDATES else ""
        candidates = f"  b {', '.join(names[:SHOWN_CANDIDATES])}{more}" if names else ""
        yield f"    g·b      {'  '.join(f'{m:+d}' for m in line['windings'])}{candidates}"
    if told["outline"] is not None:
        yield from _faces(told["outline"], unit)
    others = told["hypotheses"][1:]
    yield "hypotheses   " + (
        "free deviance above the best's, and its standard error" if others else "no other was asked"
    )
    for each in others:
        verdict = "rejected" if each["rejected"] else "not rejected"
        difference = f"{each['difference']:10.1f} ± {each['standard_error_of_difference']:<9.1f}"
        yield f"  {each['hypothesis']:32s} {difference} {verdict}"


def _faces(outline: Mapping[str, Any], unit: str) -> Iterator[str]:
    verdict = "rejected" if outline["rejected"] else "not rejected"
    difference = f"{outline['difference']:.1f} ± {outline['standard_error_of_difference']:.1f}"
    yield f"faces        {len(outline['faces'])}; one density within them: {verdict} ({difference})"
    for face in outline["faces"]:
        name = f"  ({' '.join(map(str, face['miller']))}), {face['off_deg']:.0f}° off" if face.get("miller") else ""
        x, y, z = face["normal"]
        yield f"  ({x:+.2f}, {y:+.2f}, {z:+.2f}) at {face['distance']} ± {face['standard_error']} {unit}{name}"
