"""What a verb says at its end: where it wrote, how many records, and what was left out and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlmalign.cli.console import console, errors

Stamp = tuple[int, int] | None


def stamp(out: str | Path) -> Stamp:
    """What tells one complete state of a dataset folder from another; None where it is not complete."""
    from vlmalign.records.manifest import MANIFEST

    try:
        status = (Path(out) / MANIFEST).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def another_domain(settings: Mapping[str, Any]) -> str:
    """That the cases are of another domain than the logic, which explains a folder without records; else ''."""
    from vlmalign.clinical import load_logic
    from vlmalign.records import Case, RecordFolder

    if not settings.get("logic") or not settings.get("cases") or isinstance(settings["cases"], (list, tuple)):
        return ""
    domain = load_logic(str(settings["logic"])).domain
    case = next(iter(RecordFolder(settings["cases"], Case)), None)
    return (
        "" if case is None or case.domain == domain else f"the cases are of {case.domain}, the logic is {domain}"
    )


def tell_outcome(out: str | Path, before: Stamp, why_none: Callable[[], str] = str) -> None:
    """Print the counts of the folder's manifest; a folder without any record is said on standard error.

    Args:
        out: the dataset folder, complete.
        before: its stamp before the work began.
        why_none: says why there is no record, if that is known; called where there is none.
    """
    from vlmalign.records import read_manifest

    counts = read_manifest(out).counts
    same = before is not None and stamp(out) == before
    console.print(f"{out} was complete already: nothing was done" if same else f"wrote {out}", markup=False)
    if counts["records"]:
        console.print(told(counts), markup=False)
    else:
        errors.print(f"warning: {told(counts)}" + (f" ({why})" if (why := why_none()) else ""), markup=False)


def told(counts: Mapping[str, int]) -> str:
    """Counts in one line: records first, then what was seen and left out, by name, without the zeros.

    Example:
        >>> told({"ties": 3, "records": 2, "images": 1, "invalid": 0})
        '2 records: images 1, ties 3'
    """
    records = counts["records"]
    aside = ("records", "megaflops")  # the latter is for matching budgets
    rest = [f"{name} {number}" for name, number in sorted(counts.items()) if number and name not in aside]
    return f"{records} record{'s' * (records != 1)}" + (": " + ", ".join(rest) if rest else "")
