"""The score of a text whose claims were held against known answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from vlmalign.clinical import ParsedText, Verification
from vlmalign.clinical.schema import RESERVED


@dataclass(frozen=True)
class ClaimWeights:
    """What the claims of a text are worth.

    With c correct, w wrong and o omitted concepts and u unsupported statements, of K concepts whose answer
    is known, the score is `(c - wrong * w - omitted * o - unsupported * u) / K`, less `inconsistent` if no
    valid path agrees with all claims. A text that says everything rightly, and no more, scores 1.

    Attributes:
        wrong: penalty of a wrong claim.
        omitted: penalty of a known concept that the text does not mention.
        unsupported: penalty of a statement that no image supports.
        inconsistent: penalty of a text that contradicts itself or the logic.
    """

    wrong: float = 1.0
    omitted: float = 0.25
    unsupported: float = 0.5
    inconsistent: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}: a penalty is subtracted, give a number of at least 0")


def claim_weights(given: ClaimWeights | Mapping[str, float] | None) -> ClaimWeights:
    """Weights from names and numbers, as settings files have them.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(given, ClaimWeights):
        return given
    known = [field.name for field in fields(ClaimWeights)]
    for name in given or {}:
        if name not in known:
            raise ValueError(f"weights has no {name!r}: use {', '.join(known)}")
    return ClaimWeights(**(given or {}))


def claim_score(found: Verification, weights: ClaimWeights, known: int) -> float | None:
    """Score of a text, or None if none of its claims could be checked.

    Args:
        found: its claims against the known answers.
        weights: what they are worth.
        known: K, the number of compared concepts whose answer is known; a hedged claim gains nothing of it.

    Example:
        >>> found = Verification(correct=("focus", "stain"), wrong=("leukocyte",), unverified=(),
        ...                      omitted=("platelets",), hedged=(), unsupported=(), unrecognised=0,
        ...                      consistent=True, parsed=True)
        >>> claim_score(found, ClaimWeights(), known=4)
        0.1875
    """
    if not found.correct and not found.wrong:
        return None
    score = (
        len(found.correct)
        - weights.wrong * len(found.wrong)
        - weights.omitted * len(found.omitted)
        - weights.unsupported * len(found.unsupported)
    )
    return score / known - (0.0 if found.consistent else weights.inconsistent)


def claim_steps(
    parsed: ParsedText, found: Verification, weights: ClaimWeights, known: int, text: str, *, before: str = ""
) -> tuple[tuple[int, float], ...]:
    """The score of a text by its sentences: each gets what its claims earn, and the last one the rest.

    A concept counts where it is first claimed; what is omitted and whether all fits together is known at the end.
    The steps add up to `claim_score`.

    Args:
        parsed: what the text says.
        found: its claims against the known answers; at least one is correct or wrong.
        weights: what claims are worth.
        known: K, as for `claim_score`.
        text: the text whose sentences are the steps.
        before: what was parsed before it, earlier turns of the conversation; the first sentence answers for them.

    Returns:
        Per sentence of `text`, the place after its last character, and its score.
    """
    scores = [0.0] * len(parsed.sentences)
    first: dict[str, int] = {}
    for claim in parsed.claims:
        first.setdefault(claim.concept, claim.sentence)
    for concept in found.correct:
        scores[first[concept]] += 1.0 / known
    for concept in found.wrong:
        scores[first[concept]] -= weights.wrong / known
    for statement in parsed.unsupported:
        scores[statement.sentence] -= weights.unsupported / known
    scores[-1] -= weights.omitted * len(found.omitted) / known
    scores[-1] -= 0.0 if found.consistent else weights.inconsistent
    steps: list[tuple[int, float]] = []
    earlier, end, whole = 0.0, 0, f"{before}\n{text}"
    for sentence, score in zip(parsed.sentences, scores, strict=True):
        end = whole.index(sentence, end) + len(sentence)
        if end <= len(before):
            earlier += score
        else:
            steps.append((end - len(before) - 1, score + earlier))
            earlier = 0.0
    return tuple(steps)


def known_concepts(answers: Mapping[str, str], concepts: Iterable[str] | None) -> int:
    """Number of compared concepts whose answer is known.

    Args:
        answers: concept -> value; states such as `uncertain` are not known.
        concepts: those compared, None for all.
    """
    wanted = set(answers) if concepts is None else set(concepts)
    return sum(value not in RESERVED for concept, value in answers.items() if concept in wanted)


def claim_counts(found: Verification) -> dict[str, float]:
    """Counts of claims by what became of them, for a judgement's components."""
    names = ("correct", "wrong", "omitted", "unverified", "hedged", "unsupported")
    counts = {name: float(len(getattr(found, name))) for name in names}
    return {**counts, "unrecognised": float(found.unrecognised), "consistent": float(found.consistent)}
