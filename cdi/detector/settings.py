"""What the effects' settings share and configurations must know. Free of torch."""

from cdi.requirements import require

COHERENCE_FORMS = ("gaussian", "exponential")
"""How the degree of coherence falls with distance; named here, since configurations are free of torch."""


def require_form(form: str) -> None:
    """``form`` is a key of ``cdi.detector.coherence.DECAY``.

    Raises
    ------
    ValueError
        If not; the message lists the choices.
    """
    require(form in COHERENCE_FORMS, "form", f"be one of {', '.join(COHERENCE_FORMS)}", form)
