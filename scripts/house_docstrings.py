"""Reads the house's one-line parameters, ``name : what it is``, as descriptions (an extension of griffe for the site).

In numpy's style a type follows the colon. Types stand in the code here, so that it is a shape or a sentence;
a sentence is moved to where a description belongs.
"""

import re
from typing import Any

from griffe import Docstring, Extension, Object

SECTION = re.compile(r"^(Parameters|Attributes)\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", re.M | re.S)
ENTRY = re.compile(r"^(\w[\w, *]*) : (.+)$", re.M)
SHAPE_OR_TYPE = re.compile(r"\(|[A-Z]\w*(\[.*\])?( or None)?$|(str|int|float|bool|dict|list|tuple|array|sequence)\b")


class HouseDocstrings(Extension):
    """Applies ``as_numpy_reads`` to every docstring."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe with each object that it has read."""
        if isinstance(obj.docstring, Docstring):
            obj.docstring.value = as_numpy_reads(obj.docstring.value)


def as_numpy_reads(text: str) -> str:
    """``text`` with the sentences of its parameters on lines of their own."""
    return SECTION.sub(lambda found: found[0].replace(found[2], ENTRY.sub(_moved, found[2])), text)


def _moved(entry: re.Match[str]) -> str:
    return entry[0] if SHAPE_OR_TYPE.match(entry[2]) else f"{entry[1]}\n    {entry[2]}"
