"""Plugins by name: an entry point of a group, or ``module:object``, which needs no installation."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from cdi.requirements import nearest


def find_plugin(plugin: str, group: str) -> Callable[..., Any]:
    """What the name ``plugin`` stands for: an entry point of ``group``, or ``module:object``.

    Raises
    ------
    ValueError
        If there is no such entry point, module or object, the nearest name being given, or it cannot be called.
    """
    if ":" in plugin:
        module, _, name = plugin.partition(":")
        try:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"plugin must name an importable module:object, got {plugin!r}: {error}") from error
    else:
        known = {point.name: point for point in entry_points(group=group)}
        if plugin not in known:
            raise ValueError(f"plugin must be one of the group {group}, got {plugin!r}; {nearest(plugin, known)}")
        found = known[plugin].load()
    if not callable(found):
        raise ValueError(f"plugin must be a function or a class, got {plugin!r}, a {type(found).__name__}")
    return cast(Callable[..., Any], found)
