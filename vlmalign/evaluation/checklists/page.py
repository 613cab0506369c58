"""A filled checklist as a page, and as Markdown to paste into a supplement."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlmalign.evaluation.checklists.facts import MOST, Evidence
from vlmalign.evaluation.checklists.filling import FilledChecklist, FilledItem
from vlmalign.evaluation.page_template import page_template

KINDS = {"filled": "benefit", "partly": "undecided", "gap": "harm", "not applicable": "none"}


def checklist_html(filled: FilledChecklist) -> str:
    """A self-contained page; all text is escaped, and it forbids scripts and every outside address."""
    by_number = {found.item.number: found for found in filled.items}
    return page_template("checklist.html.j2").render(
        checklist=filled.checklist,
        sections=[(section.title, [by_number[item.number] for item in section.items])
                  for section in filled.checklist.sections],
        counts=filled.counts,
        total=len(filled.items),
        files=filled.files,
        kinds=KINDS,
        told=told,
        words=words,
    )  # fmt: skip


def checklist_markdown(filled: FilledChecklist) -> str:
    """The same as Markdown: counts, one table for each section, then the files."""
    counts, checklist = filled.counts, filled.checklist
    summary = ", ".join(f"{counts[state]} {state}" for state in KINDS)
    lines = [
        f"# {checklist.title}", "", f"{len(filled.items)} items: {summary} ({counts['filled_by_human']} of the "
        "filled by a human).", "", f"Source: {checklist.source}", "", checklist.note, "",
    ]  # fmt: skip
    by_number = {found.item.number: found for found in filled.items}
    for section in checklist.sections:
        lines += [f"## {section.title}", "", "| Item | Asked | State | Told |", "|---|---|---|---|"]
        for item in section.items:
            found = by_number[item.number]
            cells = (item.number, item.text, found.state, " / ".join(_lines(found)))
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        lines.append("")
    return "\n".join([*lines, "## Files read", "", *(f"- {_cell(name)}" for name in filled.files), ""])


def told(found: Sequence[Evidence]) -> list[Evidence]:
    """The first few, and how many more there are; what several files tell alike is told once.

    Example:
        >>> told([Evidence("patient", "a"), Evidence("patient", "b")])
        [Evidence(value='patient', file='a and 1 more')]
    """
    files: dict[str, list[str]] = {}
    for each in found:
        files.setdefault(each.value, []).append(each.file)
    rows = [
        Evidence(value, names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else ""))
        for value, names in files.items()
    ]
    more = len(rows) - MOST
    return [*rows[:MOST], *([Evidence(f"... and {more} more", "")] if more > 0 else [])]


def words(fact: str) -> str:
    """A fact's name as it is shown."""
    return fact.replace("_", " ")


def _lines(found: FilledItem) -> list[str]:
    lines = [] if found.human is None else [f"**{'' if found.human.applies else 'Does not apply: '}"
                                            f"{found.human.text}**"]  # fmt: skip
    for fact, evidence in found.evidence.items():
        lines += [f"{words(fact)}: {each.value}" + (f" ({each.file})" if each.file else "")
                  for each in told(evidence)]  # fmt: skip
    if found.state in ("gap", "partly"):
        missing = f" (no file tells: {', '.join(map(words, found.missing))})" if found.missing else ""
        lines.append(f"TO WRITE: {found.item.write}{missing}")
    return lines


def _cell(text: str) -> str:
    """One line in a cell: no line break, no bar, no markup of HTML."""
    flat = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return re.sub(r"([`\[\]])", r"\\\1", flat)
