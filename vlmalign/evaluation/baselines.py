"""What no look at the image would earn: the majority class, and answers drawn at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from vlmalign.clinical import Logic, derive
from vlmalign.evaluation.answer_scores import (
    CaseTruth,
    ItemScore,
    Task,
    score_question_answers,
    score_report_answers,
)
from vlmalign.records.hashing import derive_seed


def majority_answers(labels: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Each concept's commonest value among training labels; a draw goes to the first in the alphabet.

    Example:
        >>> majority_answers([{"stain": "pale"}, {"stain": "normal"}, {"stain": "pale", "focus": "sharp"}])
        {'stain': 'pale', 'focus': 'sharp'}
    """
    counts: dict[str, Counter[str]] = {}
    for answers in labels:
        for concept, value in answers.items():
            counts.setdefault(concept, Counter())[value] += 1
    return {concept: min(counter, key=lambda v: (-counter[v], v)) for concept, counter in counts.items()}


def majority_baseline(
    logic: Logic, labels: Iterable[Mapping[str, str]], truths: Sequence[CaseTruth], in_scope: Collection[str]
) -> list[ItemScore]:
    """Score the majority answer of every concept on every case, as report and as conversation.

    Args:
        logic: the domain.
        labels: answers of the training set; never those of the test set.
        truths: the test cases.
        in_scope: concepts that the expert can verify.
    """
    answers = majority_answers(labels)
    return [item for truth in truths for item in _score(logic, answers, truth, in_scope, sample=0)]


def constant_baseline(logic: Logic, truths: Sequence[CaseTruth], in_scope: Collection[str]) -> list[ItemScore]:
    """Score the first value of every observed concept, which is what the domain lists first, derived ones
    following.

    Args:
        logic: the domain.
        truths: the test cases.
        in_scope: concepts that the expert can verify.
    """
    answers = derive(logic, {c: str(next(iter(logic.concepts[c].values))) for c in logic.observed_concepts})
    return [item for truth in truths for item in _score(logic, answers, truth, in_scope, sample=0)]


def random_baseline(
    logic: Logic, truths: Sequence[CaseTruth], in_scope: Collection[str], *, draws: int = 10, seed: int = 0
) -> list[ItemScore]:
    """Score values drawn uniformly for every observed concept, derived ones following from them.

    Args:
        logic: the domain.
        truths: the test cases.
        in_scope: concepts that the expert can verify.
        draws: samples per case.
        seed: with the case id it decides the draw.
    """
    items = []
    for truth in truths:
        for draw in range(draws):
            rng = np.random.default_rng(derive_seed("random_baseline", seed, truth.seed, truth.case_id, draw))
            answers = {c: str(rng.choice(sorted(logic.concepts[c].values))) for c in logic.observed_concepts}
            items += _score(logic, derive(logic, answers), truth, in_scope, sample=draw)
    return items


def _score(
    logic: Logic, answers: Mapping[str, str], truth: CaseTruth, in_scope: Collection[str], *, sample: int
) -> list[ItemScore]:
    report = score_report_answers(logic, answers, truth.known, in_scope)
    questions = score_question_answers(answers, truth.known, logic.order)
    tasks: tuple[tuple[Task, dict[str, float | None]], ...] = (("report", report), ("conversation", questions))
    return [
        ItemScore(truth.case_id, truth.group_id, task, metrics, dict(answers), truth.known, sample, truth.seed)
        for task, metrics in tasks
    ]
