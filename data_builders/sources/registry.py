"""Sources by name: the built-in ones, and those that installed packages add by an entry point.

A source is a function that writes a Case folder. A package adds one with

    [project.entry-points."vlmalign.sources"]
    my_microscope = "my_package.microscope:build_cases"
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Protocol

from data_builders.sources.bccd import build_bccd
from data_builders.sources.smear import build_smear

ENTRY_POINTS = "vlmalign.sources"


class Source(Protocol):
    """A function that writes a folder of cases and returns it.

    It takes keywords only from `vlmalign source build`: `out`, `overwrite`, `data` if the source reads files,
    and whatever `--set` gives. The first line of its docstring is its description.
    """

    def __call__(self, *, out: Path, overwrite: bool = False) -> Path:
        """Write the folder `out`; a killed build continues, as `DatasetBuild` does."""


BUILT_IN: dict[str, object] = {"bccd": build_bccd, "smear": build_smear}


def list_sources() -> list[str]:
    """Names of all sources, sorted.

    Example:
        >>> {"bccd", "smear"} <= set(list_sources())
        True
    """
    return sorted({*BUILT_IN, *(point.name for point in metadata.entry_points(group=ENTRY_POINTS))})


def get_source(name: str) -> Source:
    """The source of that name.

    Args:
        name: one of `list_sources()`.

    Raises:
        ValueError: no such source; two packages, or a package and the built-in ones, use one name; an entry
            point that cannot be loaded or is not a function.

    Example:
        >>> get_source("smear").__name__
        'build_smear'
        >>> get_source("smeer")
        Traceback (most recent call last):
        ...
        ValueError: unknown source 'smeer': known are bccd, smear. Install the package that adds it, or correct \
the name.
    """
    points = list(metadata.entry_points(group=ENTRY_POINTS, name=name))
    if name in BUILT_IN and not points:
        return BUILT_IN[name]  # type: ignore[return-value]  # the built-in ones have options of their own
    if not points:
        raise ValueError(
            f"unknown source {name!r}: known are {', '.join(list_sources())}. "
            "Install the package that adds it, or correct the name."
        )
    if len(points) > 1 or name in BUILT_IN:
        places = [point.value for point in points] + ["built in"] * (name in BUILT_IN)
        raise ValueError(
            f"source {name!r} is defined more than once ({', '.join(places)}): names must be unique. "
            "Uninstall one package, or rename its entry point."
        )
    try:
        source = points[0].load()
    except Exception as error:
        raise ValueError(
            f"source {name!r} cannot be loaded from {points[0].value} ({type(error).__name__}: {error}): "
            "an entry point must import. Repair or uninstall its package."
        ) from error
    if not callable(source):
        raise ValueError(
            f"source {name!r} ({points[0].value}) is a {type(source).__name__}: a function that writes a Case "
            "folder is required. Point the entry point to it."
        )
    return source  # type: ignore[no-any-return]
