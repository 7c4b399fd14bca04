"""Typed configuration, read strictly: a YAML file plus command-line overrides into a dataclass.

An unknown key, a wrong type or a bad value is a ``ValueError`` of one line; an unknown key
names the nearest one. The resolved configuration is written beside every output.
"""

import dataclasses
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from jsonargparse import ArgumentError, ArgumentParser

T = TypeVar("T")


def read_config(cls: type[T], path: str | Path | None = None, overrides: list[str] | None = None) -> T:
    """An instance of the dataclass ``cls`` from YAML at ``path`` and ``key=value`` overrides.

    Where a nested configuration is wanted, the name of a YAML file beside ``path`` stands for its content.

    Raises
    ------
    ValueError
        For an unknown key (nearest name given), a wrong type, or a value that ``cls`` rejects.
    OSError
        If the file cannot be read.
    """
    origin = str(path) if path is not None else "the command line"
    values = _included(cls, _read_yaml(Path(path)), Path(path).parent) if path is not None else {}
    for override in overrides or []:
        key, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"an override must read key=value, got {override!r}")
        _assign(values, key.strip().split("."), yaml.safe_load(text))
    return read_object(cls, values, origin=origin)


def read_object(cls: type[T], values: dict[str, Any], *, origin: str) -> T:
    """An instance of the dataclass ``cls`` from plain ``values``; ``origin`` names them in errors.

    Raises
    ------
    ValueError
        As ``read_config``.
    """
    _reject_unknown(cls, values, prefix="", origin=origin)
    parser = ArgumentParser(exit_on_error=False, add_help=False)
    parser.add_class_arguments(cls, "config")
    try:
        parsed = parser.parse_object({"config": values} if values else {})
        instance: T = parser.instantiate(parsed)["config"]
    except (ArgumentError, TypeError, ValueError) as error:
        raise ValueError(f"{origin}: {_one_line(error)}") from error
    return instance


def to_dict(config: Any) -> dict[str, Any]:
    """Plain dict of a configuration dataclass, fit for YAML, JSON and checkpoints."""
    plain: dict[str, Any] = yaml.safe_load(yaml.safe_dump(_plain(dataclasses.asdict(config))))
    return plain


def write_config(config: Any, path: str | Path) -> None:
    """The resolved configuration as YAML, beside the output that it made."""
    Path(path).write_text(yaml.safe_dump(to_dict(config), sort_keys=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a YAML file, got: {_one_line(error)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold keys and values, got a {type(values).__name__}")
    return values


def _included(cls: Any, values: dict[str, Any], directory: Path) -> dict[str, Any]:
    """``values`` with the files named in place of nested configurations read."""
    nested = {field.name for field in dataclasses.fields(cls) if dataclasses.is_dataclass(field.type)}
    return {
        key: _read_yaml(directory / value) if key in nested and isinstance(value, str) else value
        for key, value in values.items()
    }


def _assign(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ValueError(f"{'.'.join(keys)} must name a nested key, but {key!r} is a value")
    values[keys[-1]] = value


def _reject_unknown(cls: Any, values: dict[str, Any], *, prefix: str, origin: str) -> None:
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in fields:
            near = get_close_matches(str(key), fields, n=1, cutoff=0.4)
            hint = f"did you mean {prefix + near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise ValueError(f"{origin}: unknown key {prefix + str(key)!r}; {hint}")
        nested = [kind for kind in _mentioned(fields[key]) if dataclasses.is_dataclass(kind)]
        if len(nested) == 1:
            for name, item in _nested_values(fields[key], str(key), value):
                _reject_unknown(nested[0], item, prefix=f"{prefix}{name}.", origin=origin)


def _mentioned(kind: Any) -> list[Any]:
    """``kind`` and every type within it: of ``dict[str, A]``, ``tuple[A, ...]`` and ``A | None`` also A."""
    return [kind, *(inner for part in get_args(kind) for inner in _mentioned(part))]


def _nested_values(kind: Any, key: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The nested configurations in ``value``, each with its name: one, or those of a mapping or a list."""
    if isinstance(value, list | tuple):
        yield from ((f"{key}[{number}]", item) for number, item in enumerate(value) if isinstance(item, dict))
    elif isinstance(value, dict) and any(get_origin(part) is dict for part in _mentioned(kind)):
        yield from ((f"{key}.{name}", item) for name, item in value.items() if isinstance(item, dict))
    elif isinstance(value, dict):
        yield key, value


def _one_line(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return re.sub(r"^Parser key \"?config\.?\"?:? ?", "", text)[:500]
