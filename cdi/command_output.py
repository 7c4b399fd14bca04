"""What a command says when it is done: lines for people, or one JSON object for machines. Free of torch.

With ``--json`` the object is all that stands on stdout, strictly JSON: a number that is not finite is null. Progress
and warnings go to stderr either way.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace


def add_json_argument(parser: ArgumentParser) -> None:
    """The option ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def tell(arguments: Namespace, told: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Print ``told`` as JSON where that was asked for, else ``lines``."""
    if arguments.json:
        print(json_text(told), flush=True)
        return
    for line in lines:
        print(line, flush=True)


def json_text(told: Mapping[str, Any]) -> str:
    """``told`` on one line of JSON (RFC 8259, which knows neither NaN nor infinity)."""
    return json.dumps(_plain(told), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
