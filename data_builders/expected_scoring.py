"""A candidate's score under doubt: each claim is worth what an expert's probability says of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from data_builders.reading import Reading
from data_builders.scoring import NOTHING_CHECKABLE, NOTHING_KNOWN, Score, ScoreWeights, score_reading
from vlmalign.clinical import Logic
from vlmalign.clinical.schema import CONTRADICTORY, HEDGED

Probabilities = Mapping[str, Mapping[str, float]]


def expected_score(
    logic: Logic,
    reading: Reading,
    answers: Mapping[str, str],
    probabilities: Probabilities,
    *,
    weights: ScoreWeights | None = None,
    concepts: Collection[str] | None = None,
    finished: bool = True,
) -> Score:
    """Score what a candidate says against an expert's probabilities instead of its sure answers.

    The part `correctness` is the expectation of (right - wrong) / checkable: a claim of probability p counts
    p - (1 - p) = 2 p - 1, one that contradicts itself -1, an omitted or hedged one 0. With probabilities of 0
    and 1 this is the score of `score_reading`. All other parts are the same.

    Args:
        logic: the domain's clinical logic.
        reading: the candidate, read by `read_answer`.
        answers: sure answers of concepts that have no probability of their own, such as derived ones.
        probabilities: concept -> value -> how probable the expert thinks it.
        weights: how the parts add up.
        concepts: the only concepts to check; None checks all that is known.
        finished: False where the token limit cut the answer.

    Returns:
        A Score; `right` and `wrong` list the claims that are more and less likely than not. It is invalid for
        the same reasons as that of `score_reading`.

    Example:
        >>> from data_builders.reading import read_answer
        >>> from vlmalign.clinical import load_logic
        >>> from vlmalign.records import assistant, user
        >>> logic = load_logic("peripheral_smear")
        >>> said = read_answer(logic, (user("Describe it."),), (assistant("A leukocyte is seen."),))
        >>> round(expected_score(logic, said, {}, {"leukocyte": {"present": 0.7, "absent": 0.3}}).value, 9)
        0.4
    """
    weights = weights or ScoreWeights()
    sure = {c: {v: 1.0} for c, v in answers.items() if c not in probabilities}
    beliefs: dict[str, Mapping[str, float]] = {
        c: of for c, of in {**probabilities, **sure}.items() if concepts is None or c in concepts
    }
    best = {c: max(of, key=of.__getitem__) for c, of in beliefs.items()}
    found = score_reading(logic, reading, best, weights=weights, concepts=tuple(best), finished=finished)
    if not found.valid and found.reason not in (NOTHING_KNOWN, NOTHING_CHECKABLE):
        return found
    said = {c: v for c, v in reading.parsed.answers.items() if c in beliefs and v not in HEDGED}
    worth = {c: -1.0 if v == CONTRADICTORY else 2 * beliefs[c].get(v, 0.0) - 1 for c, v in said.items()}
    right = tuple(c for c in logic.order if worth.get(c, 0.0) > 0)
    wrong = tuple(c for c in logic.order if worth.get(c, 0.0) < 0)
    if found.value is None:
        return replace(found, right=right, wrong=wrong)
    correctness = sum(worth.values()) / len(beliefs)
    value = found.value + weights.correctness * (correctness - found.components["correctness"])
    counts = {"correctness": correctness, "right": float(len(right)), "wrong": float(len(wrong))}
    return replace(found, value=value, components={**found.components, **counts}, right=right, wrong=wrong)
