"""A value of a record by a dotted name: what classes are balanced by, and splits stratified by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlmalign.records import Case, Demonstration, Message, Preference, Record

FINDING = "finding."
WITH_ANSWER = (Preference, Demonstration)


def check_name(name: str, record_type: type[Record]) -> None:
    """Refuse a name that no record of the type can have.

    Raises:
        ValueError: with the names there are.

    Example:
        >>> check_name("attributes.sex", Case)
        >>> check_name("answer", Preference)
    """
    fields = {*record_type.model_fields}
    if record_type is Case and name.startswith(FINDING) and name != FINDING:
        return
    if record_type in WITH_ANSWER and name == "answer":
        return
    if name.partition(".")[0] not in fields:
        more = {"finding.CONCEPT"} if record_type is Case else {"answer"} if record_type in WITH_ANSWER else set()
        names, kind = ", ".join(sorted(fields | more)), record_type.__name__.lower()
        raise ValueError(
            f"{name!r} is no field of {kind} records: one of {names} is required, dotted to go deeper"
        )


def value_of(record: Record, name: str) -> str | None:
    """The value as text; None where the record has none.

    Args:
        record: of any kind.
        name: a field, dotted to go deeper (`attributes.sex`, `changed_claim.concept`, `extra.part`); of cases also
            `finding.CONCEPT`: the value of a reference finding that is text, else its status; of pairs and
            demonstrations also `answer`: the text of the chosen or the learnt answer.

    Example:
        >>> from vlmalign.records import ImageRef, user
        >>> case = Case(id="c1", images=(ImageRef(path="images/x.png", sha256="0" * 64),), domain="chest_xray",
        ...             messages=(user("Describe.", images=1),), group_id="g", group_kind="patient")
        >>> value_of(case, "domain"), value_of(case, "attributes.sex"), value_of(case, "finding.edema")
        ('chest_xray', None, None)
    """
    if isinstance(record, Case) and name.startswith(FINDING):
        return _finding(record, name.removeprefix(FINDING))
    if isinstance(record, WITH_ANSWER) and name == "answer":
        turns: tuple[Message, ...] = record.chosen if isinstance(record, Preference) else record.response
        return "\n".join(turn.text for turn in turns if turn.role == "assistant")
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
        if value is None:
            return None
    return str(value)


def _finding(case: Case, concept: str) -> str | None:
    findings = case.reference.findings if case.reference else ()
    found = [finding for finding in findings if finding.concept == concept]
    if not found:
        return None
    value = found[0].value
    return value if isinstance(value, str) else found[0].status
