"""Critiques that can be checked: which claims an answer makes, what the image shows of each, and the verdict.

A critique is a row of statements of a fixed form, so that what it says can be read back:

    Claim: leukocyte = present. The image shows: absent. Wrong.
    Claim: stain = pale. The image shows: unknown. Unverified.
    Omitted: platelets. The image shows: few.
    Unsupported: count.
    Claim: none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from vlmalign.clinical.parser import ParsedText, split_sentences
from vlmalign.clinical.schema import HEDGED, RESERVED, Logic
from vlmalign.clinical.verification import verify

Verdict = Literal["right", "wrong", "hedged", "unverified", "omitted"]
UNKNOWN = "unknown"

_VERDICTS = "|".join(word.capitalize() for word in get_args(Verdict) if word != "omitted")
_STATEMENT = re.compile(
    rf"Claim:\s+(?P<concept>\w+)\s+=\s+(?P<claimed>\w+)\.\s+The image shows:\s+(?P<shown>\w+)\.\s+"
    rf"(?P<verdict>{_VERDICTS})\."
    r"|Omitted:\s+(?P<left_out>\w+)\.\s+The image shows:\s+(?P<seen>\w+)\."
    r"|Unsupported:\s+(?P<kind>\w+)\."
    r"|(?P<none>Claim:\s+none\.)"
)


@dataclass(frozen=True)
class JudgedClaim:
    """What a critique says of one concept.

    Attributes:
        concept: its name.
        claimed: what the answer is said to claim; None: nothing, where it should have (`omitted`).
        shown: what the image is said to show; None: said to be unknown.
        verdict: of the critique.
    """

    concept: str
    claimed: str | None
    shown: str | None
    verdict: Verdict

    @property
    def is_sound(self) -> bool:
        """Whether the verdict follows from what is claimed and what is shown."""
        return self.verdict == _verdict(self.claimed, self.shown)


@dataclass(frozen=True)
class ParsedCritique:
    """What a critique says.

    Attributes:
        judged: statements about concepts, in order of the text.
        unsupported: kinds of the statements that it calls unsupported.
        unrecognised: whatever is not of the form, or names what the logic does not have.
    """

    judged: tuple[JudgedClaim, ...]
    unsupported: tuple[str, ...]
    unrecognised: tuple[str, ...]


@dataclass(frozen=True)
class CritiqueCheck:
    """How a critique compares with the answer and with what is known.

    Attributes:
        agree: statements about what the answer really says, with what the image is known to show, and the
            verdict that follows.
        disagree: those of which any of the three is not so.
        unverified: right about the answer, but what the image shows is not known.
        missed: concepts of which the answer claims something and the critique says nothing.
        unrecognised: sentences that could not be read.
    """

    agree: tuple[JudgedClaim, ...]
    disagree: tuple[JudgedClaim, ...]
    unverified: tuple[JudgedClaim, ...]
    missed: tuple[str, ...]
    unrecognised: int

    @property
    def share(self) -> float | None:
        """Share of the statements that could be checked that agree; None where none could."""
        checked = len(self.agree) + len(self.disagree)
        return len(self.agree) / checked if checked else None


def write_critique(
    logic: Logic, answer: ParsedText, known: Mapping[str, str], *, asked: Collection[str] | None = None
) -> str:
    """A critique of an answer by what is known to be true; concepts in canonical order, never empty.

    Args:
        logic: the domain.
        answer: what it says.
        known: concept to value; reserved states such as `uncertain` count as not known.
        asked: only these can be omitted; by default all that are known.

    Raises:
        ValueError: a concept or value that the logic does not have.

    Example:
        >>> from vlmalign.clinical import load_logic, parse_text
        >>> logic = load_logic("peripheral_smear")
        >>> write_critique(logic, parse_text(logic, "A leukocyte is seen."), {"leukocyte": "absent"})
        'Claim: leukocyte = present. The image shows: absent. Wrong.'
    """
    found = verify(logic, answer, known)
    said = answer.answers
    lines = []
    for concept in logic.order:
        shown = _certain(known, concept)
        if concept in said:
            verdict = _verdict(said[concept], shown).capitalize()
            lines.append(f"Claim: {concept} = {said[concept]}. The image shows: {shown or UNKNOWN}. {verdict}.")
        elif concept in found.omitted and (asked is None or concept in asked):
            lines.append(f"Omitted: {concept}. The image shows: {shown}.")
    lines += [f"Unsupported: {kind}." for kind in dict.fromkeys(found.unsupported)]
    return " ".join(lines if said else ["Claim: none.", *lines])


def parse_critique(logic: Logic, text: str) -> ParsedCritique:
    """Read a critique; what is not of the fixed form is listed, never guessed.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> logic = load_logic("peripheral_smear")
        >>> found = parse_critique(logic, "Claim: focus = sharp. The image shows: sharp. Right. Well done.")
        >>> found.judged[0].verdict, found.unrecognised
        ('right', ('Well done.',))
    """
    judged: list[JudgedClaim] = []
    unsupported: list[str] = []
    unrecognised: list[str] = []
    end = 0
    for match in _STATEMENT.finditer(text):
        unrecognised += split_sentences(text[end : match.start()])
        end = match.end()
        claim = _judged(match)
        if match["kind"] is not None and match["kind"] in logic.unsupported:
            unsupported.append(match["kind"])
        elif claim is not None and _is_known(logic, claim):
            judged.append(claim)
        elif match["none"] is None:
            unrecognised.append(match[0])
    unrecognised += split_sentences(text[end:])
    return ParsedCritique(tuple(judged), tuple(unsupported), tuple(unrecognised))


def check_critique(
    logic: Logic, critique: ParsedCritique, answer: ParsedText, known: Mapping[str, str]
) -> CritiqueCheck:
    """Hold what a critique says against the answer that it judges and against what is known.

    Args:
        logic: the domain.
        critique: what it says.
        answer: what the judged answer says.
        known: concept to value; reserved states count as not known.

    Raises:
        ValueError: a known concept or value that the logic does not have.

    Example:
        >>> from vlmalign.clinical import load_logic, parse_text
        >>> logic = load_logic("peripheral_smear")
        >>> critique = parse_critique(logic, "Claim: leukocyte = present. The image shows: present. Right.")
        >>> answer = parse_text(logic, "A leukocyte is seen.")
        >>> check_critique(logic, critique, answer, {"leukocyte": "absent"}).share
        0.0
    """
    for concept, value in known.items():
        logic.check_value(concept, value, reserved=True)
    said = answer.answers
    groups: dict[str, list[JudgedClaim]] = {"agree": [], "disagree": [], "unverified": []}
    for claim in critique.judged:
        truth = _certain(known, claim.concept)
        if said.get(claim.concept) != claim.claimed or not claim.is_sound:
            groups["disagree"].append(claim)
        elif truth is None:
            groups["unverified"].append(claim)
        else:
            groups["agree" if claim.shown == truth else "disagree"].append(claim)
    named = {claim.concept for claim in critique.judged}
    return CritiqueCheck(
        **{name: tuple(claims) for name, claims in groups.items()},
        missed=tuple(concept for concept in logic.order if concept in said and concept not in named),
        unrecognised=len(critique.unrecognised),
    )


def _certain(known: Mapping[str, str], concept: str) -> str | None:
    value = known.get(concept)
    return None if value in RESERVED else value


def _verdict(claimed: str | None, shown: str | None) -> Verdict:
    if claimed is None:
        return "omitted"
    if claimed in HEDGED:
        return "hedged"
    if shown is None:
        return "unverified"
    return "right" if claimed == shown else "wrong"


def _judged(match: re.Match[str]) -> JudgedClaim | None:
    if match["concept"] is not None:
        shown = None if match["shown"] == UNKNOWN else match["shown"]
        verdict: Verdict = match["verdict"].lower()  # type: ignore[assignment]  # the pattern knows only these
        return JudgedClaim(match["concept"], match["claimed"], shown, verdict)
    if match["left_out"] is not None:
        return JudgedClaim(match["left_out"], None, match["seen"], "omitted")
    return None


def _is_known(logic: Logic, claim: JudgedClaim) -> bool:
    values = logic.concepts[claim.concept].values if claim.concept in logic.concepts else {}
    claimed_known = claim.claimed is None or claim.claimed in values or claim.claimed in RESERVED
    return bool(values) and claimed_known and (claim.shown is None or claim.shown in values)
