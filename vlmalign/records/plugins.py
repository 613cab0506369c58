"""Objects by name: ours, and those that installed packages add by an entry point. Imports no torch.

A package adds one with

    [project.entry-points."vlmalign.rewards"]
    my_reward = "my_package.rewards:MyReward"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pkgutil import resolve_name
from typing import Any, NamedTuple

from vlmalign.records.suggestions import hint


class Plugin(NamedTuple):
    """An object that was found by its name.

    Attributes:
        object: what it is.
        origin: `built in`, or where its entry point leads, e.g. `my_package.rewards:MyReward`.
    """

    object: Any
    origin: str


@dataclass(frozen=True)
class Plugins:
    """All objects of one kind.

    Attributes:
        kind: what they are, for messages, e.g. `reward`.
        group: the group of entry points that adds to them.
        ours: the built-in ones by name; a text `module:attribute` is one that is imported when it is asked for.
        ours_first: pass over a package that offers a name of ours; default refuse the name.

    Example:
        >>> rewards = Plugins("reward", "no.such.group", {"scalar": float})
        >>> rewards.get("scalar").object
        <class 'float'>
        >>> rewards.get("scaler")
        Traceback (most recent call last):
        ...
        ValueError: unknown reward 'scaler'. Did you mean 'scalar'?
    """

    kind: str
    group: str
    ours: Mapping[str, Any]
    ours_first: bool = False

    def offered(self) -> list[metadata.EntryPoint]:
        """What installed packages offer, by name, names of ours and names that are used twice included."""
        return sorted(metadata.entry_points(group=self.group), key=lambda point: point.name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.ours, *(point.name for point in self.offered())})

    def get(self, name: str) -> Plugin:
        """The object of that name.

        Raises:
            ValueError: no such name (with the nearest one); two packages, or a package and we, use it; an entry
                point that cannot be loaded.
        """
        points = [point for point in self.offered() if point.name == name]
        if name in self.ours and (self.ours_first or not points):
            found = self.ours[name]
            return Plugin(resolve_name(found) if isinstance(found, str) else found, "built in")
        if not points:
            raise ValueError(f"unknown {self.kind} {name!r}. {hint(name, self.names())}")
        if len(points) > 1 or name in self.ours:
            places = [point.value for point in points] + ["built in"] * (name in self.ours)
            raise ValueError(
                f"{self.kind} {name!r} is defined more than once ({', '.join(places)}): names must be unique. "
                "Uninstall one package, or rename its entry point."
            )
        try:
            return Plugin(points[0].load(), points[0].value)
        except (Exception, SystemExit) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(
                f"{self.kind} {name!r} cannot be loaded from {points[0].value} ({why}): "
                "an entry point must import. Repair or uninstall its package."
            ) from error
