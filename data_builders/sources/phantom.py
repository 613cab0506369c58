"""What phantom sources share: settings within range, and a folder of cases written group by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_builders.sources.prompt import prompt_bank
from vlmalign.records import Case, DatasetBuild


def check_least(**settings: tuple[int, int]) -> None:
    """Refuse settings that are too small.

    Args:
        settings: by name, the value and the least that it may be.

    Raises:
        ValueError: naming the first that is too small.

    Example:
        >>> check_least(n_groups=(0, 1))
        Traceback (most recent call last):
        ...
        ValueError: n_groups is 0: at least 1 is required
    """
    for name, (value, least) in settings.items():
        if value < least:
            raise ValueError(f"{name} is {value}: at least {least} is required")


def write_phantoms(
    out: str | Path,
    source: str,
    settings: Mapping[str, Any],
    draw: Callable[[DatasetBuild, int], Sequence[Case]],
    *,
    unit: str,
    domain: str,
    notes: Mapping[str, str],
    overwrite: bool,
) -> Path:
    """Write the cases of one group after the other; a killed build continues.

    Args:
        out: the dataset folder.
        source: name and version.
        settings: all that decides the content, `n_groups` and `first_group` among it.
        draw: stores the pictures of a group and gives its cases.
        unit: what a group is, in the names of units.
        domain: of the clinical logic, whose request texts the cases use.
        notes: for the manifest.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: the folder holds something else.
    """
    config = {"source": source, **settings, "prompts": prompt_bank(domain)}
    with DatasetBuild(out, "case", config, overwrite=overwrite, notes=notes, data_use="open") as build:
        if build.finished:
            return build.path
        first = settings["first_group"]
        for number in build.part(settings["n_groups"]):
            group = first + number
            name = f"{unit}-{group}"
            if not build.has(name):
                build.commit(name, draw(build, group))
    return build.path
