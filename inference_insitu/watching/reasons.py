"""What became of a frame, in words, and the colour that stands for it.

The order is that of severity: where a picture has room for one frame among several, it shows the
one that stands furthest down.
"""

from inference_insitu.books.outcomes import DROPPED, HANDED_OVER, INFERRED

OPEN = "open"
_COLOURS = {
    INFERRED: "#0072b2",
    HANDED_OVER: "#56b4e9",
    "reduced": "#9ecae9",
    "sampled": "#c9c9c9",
    "repeated": "#a0a0a0",
    "superseded": "#e6c84b",
    "full": "#e69f00",
    "late": "#b8860b",
    "timeout": "#d95f02",
    "too_large": "#cc79a7",
    "undelivered": "#8c6bb1",
    "unsaved": "#a6761d",
    "nonfinite": "#e7298a",
    "unreduced": "#fb9a99",
    "failed": "#ef3b2c",
    "unanswered": "#b30000",
    "lost": "#67000d",
    "no_inference": "#000000",
}
_ASKED_FOR = {"reduced", "sampled", "repeated", "superseded", "full", "late", "timeout"}
_UNKNOWN_COLOUR = "#00c853"


def meaning(outcome: str) -> str:
    """The outcome in one sentence; also of one that a later version wrote."""
    if outcome == INFERRED:
        return "an analysis answered"
    if outcome == HANDED_OVER:
        return "it lies in the stream log, whose own account says who answered it"
    return DROPPED.get(outcome, "an outcome that this version does not know")


def colour(outcome: str) -> str:
    """What it is painted with."""
    return _COLOURS.get(outcome, _UNKNOWN_COLOUR)


def asked_for(outcome: str) -> bool:
    """Whether the run's settings lead to it by themselves; anything else went wrong."""
    return outcome in (INFERRED, HANDED_OVER) or outcome in _ASKED_FOR


def severity(outcome: str) -> int:
    """Place in the order; an unknown outcome comes last."""
    return list(_COLOURS).index(outcome) if outcome in _COLOURS else len(_COLOURS)


def shown(text: object, longest: int = 80) -> str:
    """``text`` for a terminal or a picture: one line, no control character, at most ``longest`` characters."""
    clean = "".join(letter if letter.isprintable() else "�" for letter in str(text))
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
