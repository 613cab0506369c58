"""A checklist filled from files and from what a human wrote; what neither tells is a gap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vlmalign.evaluation.checklists.answers import HumanAnswer
from vlmalign.evaluation.checklists.evidence import EvidenceFiles
from vlmalign.evaluation.checklists.facts import Evidence
from vlmalign.evaluation.checklists.figure_facts import FACTS
from vlmalign.evaluation.checklists.items import Checklist, ChecklistItem

State = Literal["filled", "partly", "gap", "not applicable"]
STATES: tuple[State, ...] = ("filled", "partly", "gap", "not applicable")


@dataclass(frozen=True)
class FilledItem:
    """An item with its state.

    Attributes:
        item: what is asked.
        state: filled: files tell all of it, or a human wrote it; partly: files tell some; gap: nothing does; not
            applicable: a human said so.
        evidence: fact -> what files tell.
        missing: facts that no file tells.
        human: what a human wrote.
    """

    item: ChecklistItem
    state: State
    evidence: Mapping[str, Sequence[Evidence]]
    missing: Sequence[str]
    human: HumanAnswer | None

    def to_dict(self) -> dict[str, Any]:
        """The form in which the JSON file holds it."""
        return {
            "state": self.state,
            "evidence": {
                fact: [{"value": each.value, "file": each.file} for each in found]
                for fact, found in self.evidence.items()
            },
            "missing": list(self.missing),
            "human": None if self.human is None else self.human.text,
            "write": self.item.write if self.state in ("gap", "partly") else None,
        }


@dataclass(frozen=True)
class FilledChecklist:
    """A checklist with all items filled as far as they can be.

    Attributes:
        checklist: which.
        items: in its order.
        files: that were read.
    """

    checklist: Checklist
    items: Sequence[FilledItem]
    files: Sequence[str]

    @property
    def counts(self) -> dict[str, int]:
        """Items by state, all four named; `filled_by_human` are those of the filled that a human wrote."""
        counts = Counter(found.state for found in self.items)
        by_human = sum(found.state == "filled" and found.human is not None for found in self.items)
        return {**{state: counts[state] for state in STATES}, "filled_by_human": by_human}

    def to_dict(self) -> dict[str, Any]:
        """The form in which the JSON file holds it."""
        return {
            "checklist": self.checklist.name,
            "counts": self.counts,
            "items": {found.item.number: found.to_dict() for found in self.items},
            "files": list(self.files),
        }


def fill_checklist(
    checklist: Checklist, files: EvidenceFiles, answers: Mapping[str, HumanAnswer] | None = None
) -> FilledChecklist:
    """Fill a checklist. Nothing is filled without a file or a human behind it.

    Args:
        checklist: which.
        files: what was found.
        answers: item number -> what a human wrote.

    Example:
        >>> from vlmalign.evaluation.checklists import load_checklist
        >>> fill_checklist(load_checklist("mi-claim-gen"), EvidenceFiles()).counts["filled"]
        0
    """
    told = {name: FACTS[name](files) for name in dict.fromkeys(f for item in checklist.items for f in item.facts)}
    items = [_fill(item, told, (answers or {}).get(item.number)) for item in checklist.items]
    return FilledChecklist(checklist, items, files.names)


def _fill(item: ChecklistItem, told: Mapping[str, Sequence[Evidence]], human: HumanAnswer | None) -> FilledItem:
    evidence = {name: told[name] for name in item.facts if told[name]}
    missing = [name for name in item.facts if not told[name]]
    state: State
    if human is not None:
        state = "filled" if human.applies else "not applicable"
    elif evidence:
        state = "partly" if missing or item.human else "filled"
    else:
        state = "gap"
    return FilledItem(item, state, evidence, missing, human)
