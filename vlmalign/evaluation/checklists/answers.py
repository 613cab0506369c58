"""What a human writes into a checklist: a YAML file, item number -> text, or why the item does not apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from vlmalign.evaluation.checklists.items import Checklist
from vlmalign.records import DataError
from vlmalign.records.suggestions import hint

NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True)
class HumanAnswer:
    """An answer, or the reason why the item does not apply.

    Attributes:
        text: of either.
        applies: whether the item applies.
    """

    text: str
    applies: bool = True


def read_answers(path: str | Path, checklist: Checklist) -> dict[str, HumanAnswer]:
    """Read a file of answers: `1a: some text`, or `4d: {not_applicable: the reason}`.

    Raises:
        DataError: no such file, no YAML mapping, an item number that the checklist lacks, or an empty answer.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", "Check the path of the answers.", file=path)
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - texts only
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"it is no YAML: {reason}", "Correct it: one `number: text` a line.", file=path) from None
    if not isinstance(given, Mapping):
        raise DataError("it is no mapping", "Write one `number: text` a line.", file=path)
    numbers = [item.number for item in checklist.items]
    wrong = [number for number in given if number not in numbers]
    if wrong:
        raise DataError(
            f"{checklist.name} has no item {', '.join(map(repr, wrong))}. {hint(str(wrong[0]), numbers)}",
            "Use the numbers of the checklist.", file=path, field=str(wrong[0]),
        )  # fmt: skip
    return {number: _answer(number, value, path) for number, value in given.items()}


def _answer(number: str, value: object, path: Path) -> HumanAnswer:
    applies, text = True, value
    if isinstance(value, Mapping):
        if list(value) != [NOT_APPLICABLE]:
            remedy = f"Write a text, or {{{NOT_APPLICABLE}: the reason}}."
            raise DataError(f"it is a mapping of {', '.join(value)}", remedy, file=path, field=number)
        applies, text = False, value[NOT_APPLICABLE]
    if not isinstance(text, str) or not text.strip():
        what = "the answer" if applies else "the reason why it does not apply"
        raise DataError(f"{what} is empty or no text", "Write it, or drop the item: then it stays a gap.",
                        file=path, field=number)  # fmt: skip
    return HumanAnswer(text.strip(), applies)
