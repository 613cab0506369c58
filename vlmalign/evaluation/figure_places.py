"""Every figure with an interval that a file of results holds, by its dotted place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_FIGURE = {"mean", "low", "high"}


def figures_in(results: Any) -> dict[str, Mapping[str, Any]]:
    """Figures by dotted place; what lies inside a figure is part of it.

    Example:
        >>> score = {"mean": 0.5, "low": 0.4, "high": 0.6}
        >>> list(figures_in({"arms": {"dpo": {"f1": score}}, "seeds": [1]}))
        ['arms.dpo.f1']
    """
    return {".".join(place): figure for place, figure in _figures(results, ())}


def _figures(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        if _FIGURE <= set(value):
            yield place, value
            return
        for key, inner in value.items():
            yield from _figures(inner, (*place, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _figures(inner, (*place, str(index)))
