"""Holding the claims of a text against what is known to be true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vlmalign.clinical.parser import ParsedText
from vlmalign.clinical.paths import is_consistent
from vlmalign.clinical.schema import HEDGED, RESERVED, Logic


@dataclass(frozen=True)
class Verification:
    """How the claims of a text compare with the truth; concepts are in canonical order.

    Attributes:
        correct: claimed, and true.
        wrong: claimed, and not true; two claims that disagree are wrong.
        unverified: claimed, but the truth is not known.
        omitted: the truth is known, nothing is claimed.
        hedged: claimed as uncertain or not assessed: neither correct nor wrong.
        unsupported: kinds of the unsupported statements, one for each.
        unrecognised: how many sentences say nothing that could be read.
        consistent: the text makes a definite claim, and some valid path agrees with all its claims.
        parsed: the text makes any claim.
    """

    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    unverified: tuple[str, ...]
    omitted: tuple[str, ...]
    hedged: tuple[str, ...]
    unsupported: tuple[str, ...]
    unrecognised: int
    consistent: bool
    parsed: bool


def verify(
    logic: Logic,
    parsed: ParsedText,
    answers: Mapping[str, str],
    *,
    concepts: Iterable[str] | None = None,
) -> Verification:
    """Compare the claims of a text with answers that are known to be true.

    A text without any claim is not parsed and not consistent, and nothing in it is correct: what could not
    be read never equals anything.

    Args:
        logic: the domain.
        parsed: what the text says.
        answers: what is known; reserved states such as `uncertain` count as not known.
        concepts: only these are compared; by default all. `consistent` and `parsed` are of the whole text.

    Raises:
        ValueError: a concept or value that the logic does not have.

    Example:
        >>> from vlmalign.clinical import load_logic, parse_text
        >>> logic = load_logic("peripheral_smear")
        >>> parsed = parse_text(logic, "A leukocyte is seen. The stain of the field is pale.")
        >>> found = verify(logic, parsed, {"leukocyte": "absent", "platelets": "none"})
        >>> found.wrong, found.unverified, found.omitted
        (('leukocyte',), ('stain',), ('platelets',))
    """
    for concept, value in answers.items():
        logic.check_value(concept, value, reserved=True)
    wanted = set(logic.concepts) if concepts is None else {name for name in concepts if logic.concept(name)}
    said = parsed.answers
    true = {concept: value for concept, value in answers.items() if value not in RESERVED}

    groups: dict[str, list[str]] = {g: [] for g in ("correct", "wrong", "unverified", "omitted", "hedged")}
    for name in logic.order:
        if name not in wanted:
            continue
        if name not in said:
            if name in true:
                groups["omitted"].append(name)
        elif said[name] in HEDGED:
            groups["hedged"].append(name)
        elif name not in true:
            groups["unverified"].append(name)
        else:
            groups["correct" if said[name] == true[name] else "wrong"].append(name)
    definite = any(value not in HEDGED for value in said.values())
    return Verification(
        **{name: tuple(members) for name, members in groups.items()},
        unsupported=tuple(statement.kind for statement in parsed.unsupported),
        unrecognised=len(parsed.unrecognised),
        consistent=definite and is_consistent(logic, said),
        parsed=bool(parsed.claims),
    )
