"""Failures that a user can mend, each one line: what, expected, got, how to mend it.

Bad values are plain ``ValueError`` / ``OSError`` (exit code 2); these types cover the rest.
"""

from importlib import import_module
from types import ModuleType


class MissingDependencyError(ImportError):
    """An optional part is not installed; the message holds the line that installs it."""


class RunError(RuntimeError):
    """A well-posed task failed while running (exit code 1)."""


def optional_import(module: str, *, group: str, purpose: str) -> ModuleType:
    """The imported ``module``, or one line saying which optional group provides it.

    Raises
    ------
    MissingDependencyError
        If ``module`` cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs the package {module.split('.')[0]!r}, which does not import ({error}); "
            f"install it with: pip install 'crystal-defects-insitu[{group}]'"
        ) from error
