"""The items of a reporting checklist, from YAML files of this package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlmalign.records.suggestions import unknown

_FOLDER = Path(__file__).parent
#: name on the command line -> file
CHECKLISTS = {"mi-claim-gen": "mi_claim_gen.yaml", "elevate-ai": "elevate_ai.yaml"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChecklistItem(_Part):
    """One thing to report.

    Attributes:
        number: as it is cited, e.g. "3b".
        text: what is asked, in our words.
        facts: names of `FACTS`; all of them tell the whole item.
        human: files alone never tell the whole of it.
        write: what a human has to write where files do not tell it.
    """

    number: str
    text: str
    facts: tuple[str, ...] = ()
    human: bool = False
    write: str

    @model_validator(mode="after")
    def _can_be_filled(self) -> ChecklistItem:
        if not self.facts and not self.human:
            raise ValueError(f"item {self.number} has no facts: mark it as human")
        return self


class Section(_Part):
    """A part of a checklist."""

    title: str
    items: tuple[ChecklistItem, ...] = Field(min_length=1)


class Checklist(_Part):
    """A checklist.

    Attributes:
        name: on the command line.
        title: in full.
        source: the papers.
        note: what our version of it is, and is not.
        sections: its parts in order.
    """

    name: str
    title: str
    source: str
    note: str
    sections: tuple[Section, ...]

    @property
    def items(self) -> tuple[ChecklistItem, ...]:
        """All items in order."""
        return tuple(item for section in self.sections for item in section.items)

    @model_validator(mode="after")
    def _numbers_are_unique(self) -> Checklist:
        numbers = [item.number for item in self.items]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{self.name}: item numbers must be unique: {', '.join(numbers)}")
        return self


@cache
def load_checklist(name: str) -> Checklist:
    """The checklist of that name.

    Raises:
        ValueError: no such name, with the nearest one.

    Example:
        >>> [section.title for section in load_checklist("mi-claim-gen").sections][:2]
        ['Study design', 'Resources and optimization']
    """
    if name not in CHECKLISTS:
        raise ValueError(unknown("checklist", name, CHECKLISTS))
    return Checklist.model_validate(yaml.safe_load((_FOLDER / CHECKLISTS[name]).read_text(encoding="utf-8")))
