"""What a verb says at its end: where it wrote, how many records, and what was left out and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlmalign.cli.console import console, errors

Stamp = tuple[int, int] | None
MANIFEST = "manifest.json"
INVALID = "invalid:"
REASONS = {
    "unfinished": "most answers were cut off: raise --max-new-tokens of vlmalign generate",
    "nothing_parsed": "the clinical logic can read nothing in most answers: look at them, and teach the model to "
    "report first, vlmalign sft",
    "nothing_checkable": "most answers claim nothing that the findings tell: look at them, and at what is known",
    "nothing_known": "of most cases nothing is known: give findings of these cases",
}  # of scores that data_builders could not give
LAST_WRITTEN = (MANIFEST, "summary.json", "expert.json")  # of a folder of records, of a run, of an expert


def stamp(out: str | Path) -> Stamp:
    """What tells one complete state of a folder of records, of a run or expert from another; None: incomplete."""
    for name in LAST_WRITTEN:
        try:
            status = (Path(out) / name).stat()
        except OSError:
            continue
        return status.st_ino, status.st_mtime_ns
    return None


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
    """Print whether the folder was written now, and the counts of records; none at all is said on standard error.

    Args:
        out: what a stage wrote.
        before: its stamp before the work began.
        why_none: says why there is no record, if that is known; called where there is none.
    """
    from vlmalign.records import read_manifest

    same = before is not None and stamp(out) == before
    console.print(f"{out} was complete already: nothing was done" if same else f"wrote {out}", markup=False)
    if not (Path(out) / MANIFEST).is_file():
        return
    counts = read_manifest(out).counts
    if counts["records"]:
        console.print(told(counts), markup=False)
    else:
        why = why_none() or commonest_reason(counts)
        errors.print(f"warning: {told(counts)}" + (f" ({why})" if why else ""), markup=False)


def commonest_reason(counts: Mapping[str, int]) -> str:
    """Why most answers could not be scored, in words, with what to do; '' where the counts do not say.

    Example:
        >>> commonest_reason({"records": 0, "invalid": 9, "invalid:unfinished": 8, "invalid:nothing_parsed": 1})
        'most answers were cut off: raise --max-new-tokens of vlmalign generate'
    """
    given = {name.removeprefix(INVALID): n for name, n in counts.items() if name.startswith(INVALID) and n}
    return REASONS.get(max(given, key=lambda name: given[name]), "") if given else ""


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
