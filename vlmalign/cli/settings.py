"""Settings given by hand, checked before anything runs: unknown, missing and wrong ones are named."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, validate_call

M = TypeVar("M", bound=BaseModel)
GIVEN_BY_US = ("self", "out", "overwrite")


def call_with_settings(function: Callable[..., Any], given: Mapping[str, Any], *, where: str) -> Any:
    """Call a function with settings after checking their names and, where it declares them, their types.

    Args:
        function: of this package, or one that an installed package offers.
        given: its keyword arguments.
        where: what is called, for the error.

    Raises:
        ValueError: a setting that the function does not know, lacks, or cannot use.

    Example:
        >>> def build(*, out: str, size: int = 96) -> int:
        ...     return size
        >>> call_with_settings(build, {"out": "cases", "sise": 3}, where="source 'mine'")
        Traceback (most recent call last):
        ...
        ValueError: source 'mine': unknown setting 'sise'. Did you mean 'size'?
    """
    parameters = inspect.signature(function).parameters
    own = [name for name in parameters if name not in GIVEN_BY_US]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for name in given:
            if name not in parameters:
                raise ValueError(f"{where}: unknown setting {name!r}. {_hint(name, own)}")
    required = [name for name, p in parameters.items() if p.default is p.empty and p.kind not in (2, 4)]
    missing = [name for name in required if name not in given]
    if missing:
        raise ValueError(f"{where}: the setting {missing[0]!r} is missing. Add --set {missing[0]}=VALUE.")
    try:
        get_type_hints(function)
    except Exception:  # annotations that name what cannot be imported: nothing to check against
        return function(**given)
    try:
        return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)(**given)
    except ValidationError as error:
        if error.title != function.__name__:
            raise
        raise ValueError(f"{where}: {explain(error)}") from None


def make_settings(settings: type[M], given: Mapping[str, Any], *, where: str) -> M:
    """Make a settings object.

    Raises:
        ValueError: naming the key, its value, the rule and, for an unknown key, the nearest known one.
    """
    try:
        return settings.model_validate(dict(given))
    except ValidationError as error:
        raise ValueError(f"{where}: {explain(error, settings.model_fields)}") from None


def explain(error: ValidationError, known: Collection[str] = ()) -> str:
    """One sentence for the first thing that is wrong; unknown keys come first."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown setting {key!r}. {_hint(key, list(known)) if known else 'Correct or drop it.'}"
    if first["type"] == "missing":
        return f"the setting {key!r} is missing. Add it."
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{key!r} is {first['input']!r}: {message}. Correct it." if key else f"{message}."


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known)) or 'none'}."
