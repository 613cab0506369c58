"""Settings given by hand, checked before anything runs: unknown, missing and wrong ones are named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, validate_call
from pydantic.fields import FieldInfo

from vlmalign.records import suggestions
from vlmalign.records.suggestions import SettingsError, UnknownKeyError

M = TypeVar("M", bound=BaseModel)
GIVEN_BY_US = ("self", "out", "overwrite")


def call_with_settings(
    function: Callable[..., Any], given: Mapping[str, Any], *, where: str, remedy: str = ""
) -> Any:
    """Call a function with settings after checking their names and, where it declares them, their types.

    Args:
        function: of this package, or one that an installed package offers.
        given: its keyword arguments.
        where: what is called, for the error.
        remedy: where to read what the settings mean; follows the error of missing ones.

    Raises:
        SettingsError: a setting that the function does not know, lacks, or cannot use.

    Example:
        >>> def build(*, out: str, size: int = 96) -> int:
        ...     return size
        >>> call_with_settings(build, {"out": "cases", "sise": 3}, where="source 'mine'")
        Traceback (most recent call last):
        ...
        vlmalign.records.suggestions.UnknownKeyError: source 'mine': unknown setting 'sise'. Did you mean 'size'?
    """
    parameters = inspect.signature(function).parameters
    own = [name for name in parameters if name not in GIVEN_BY_US]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for name in given:
            if name not in parameters:
                raise UnknownKeyError(f"{where}: {suggestions.unknown('setting', name, own)}")
    required = [name for name, p in parameters.items() if p.default is p.empty and p.kind not in (2, 4)]
    missing = [name for name in required if name not in given]
    if missing:
        add = " ".join(f"--set {name}=VALUE" for name in missing)
        what = (
            f"setting {missing[0]!r} is" if len(missing) == 1 else f"settings {', '.join(map(repr, missing))} are"
        )
        raise SettingsError(f"{where}: the {what} missing. Add {add}.{remedy}")
    try:
        get_type_hints(function)
    except Exception:  # annotations that name what cannot be imported: nothing to check against
        return function(**given)
    try:
        return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)(**given)
    except ValidationError as error:
        if error.title != function.__name__:
            raise
        raise SettingsError(f"{where}: {explain(error)}") from None


def make_settings(settings: type[M], given: Mapping[str, Any], *, where: str, kind: str = "setting") -> M:
    """Make a settings object; the error of a wrong one begins with `where`, and calls it a `kind`.

    Raises:
        SettingsError: naming the key, its value, the rule and, for an unknown key, the nearest known one.
    """
    try:
        return settings.model_validate(dict(given))
    except ValidationError as error:
        raise SettingsError(f"{where}: {explain(error, settings.model_fields, kind)}") from None


def explain(error: ValidationError, known: Collection[str] = (), kind: str = "setting") -> str:
    """One sentence for the first thing that is wrong; unknown keys come first."""
    return suggestions.explain(error, kind, lambda place: () if place else known)


def settings_table(settings: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, default and description of every setting; those of a mapping inside follow it by dotted names.

    Example:
        >>> from pydantic import Field
        >>> class Mine(BaseModel):
        ...     speed: int = Field(3, description="of the walk")
        >>> list(settings_table(Mine))
        [('speed', '3', 'of the walk')]
    """
    for name, field in settings.model_fields.items():
        inside = [field.annotation, *get_args(field.annotation)]
        alternatives = get_origin(field.annotation) in (Union, UnionType)
        choices = [str(choice) for part in inside if get_origin(part) is Literal for choice in get_args(part)]
        about = field.description or ""
        if choices:
            about += f" ({' | '.join(choices)})"
        yield prefix + name, _default(field), about
        mappings = [
            part
            for part in (inside if alternatives else inside[:1])
            if isinstance(part, type) and issubclass(part, BaseModel)
        ]
        for part in mappings:
            if len(mappings) == 1:
                yield from settings_table(part, f"{prefix}{name}.")
            else:
                tag = field.discriminator if isinstance(field.discriminator, str) else "name"
                yield from _alternative(part, prefix + name, tag)


def _alternative(settings: type[BaseModel], key: str, tag: str) -> Iterator[tuple[str, str, str]]:
    """One of several mappings that a key may hold: its name (in `tag`) and what it is, then its other settings."""
    (name,) = get_args(settings.model_fields[tag].annotation)
    yield f"{key}: {name}", "", (settings.__doc__ or "").partition(";")[0].rstrip(".")
    yield from (row for row in settings_table(settings, f"  {key}.") if row[0] != f"  {key}.{tag}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return str(getattr(default, "name", "-"))
    return "-" if default is None or default == () else str(default).lower()
