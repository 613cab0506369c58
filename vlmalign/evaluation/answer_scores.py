"""Answers against known answers: the core that texts, conversations and baselines all go through."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vlmalign.clinical import Logic, is_consistent
from vlmalign.clinical.schema import HEDGED, RESERVED

Task = Literal["report", "conversation"]


@dataclass(frozen=True)
class CaseTruth:
    """What is known to be true of a case, derived concepts included.

    A concept of which nothing is known is not in `answers`, or there as `uncertain` or `not_assessed`.
    """

    case_id: str
    group_id: str
    answers: Mapping[str, str]
    seed: int | None = None

    @property
    def known(self) -> dict[str, str]:
        """The answers without those that say that they are not known."""
        return {concept: value for concept, value in self.answers.items() if value not in RESERVED}


@dataclass(frozen=True)
class ItemScore:
    """One candidate's figures, enough to aggregate, pair and score again.

    Attributes:
        case_id: the case.
        group_id: its cluster.
        task: which kind of prompt was answered.
        metrics: metric name -> value; None is an excluded state, an absent name does not apply.
        predicted: concept -> what the candidate answered (only what was read).
        truth: concept -> what is true (only what is known).
        sample: which sample of the case this is.
        seed: training seed of the policy, where there are several.
    """

    case_id: str
    group_id: str
    task: Task
    metrics: Mapping[str, float | None]
    predicted: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, str] = field(default_factory=dict)
    sample: int = 0
    seed: int | None = None

    @property
    def key(self) -> tuple[int | None, str, int, str]:
        """What identifies the same item in two arms."""
        return (self.seed, self.case_id, self.sample, self.task)

    def to_dict(self) -> dict[str, Any]:
        """Plain form for a JSON line."""
        return {name: dict(v) if isinstance(v, Mapping) else v for name, v in vars(self).items()}


def share_right(predicted: Mapping[str, str], truth: Mapping[str, str], concepts: Iterable[str]) -> float | None:
    """Share of the known `concepts` that were answered rightly; no answer is wrong. None if none is known.

    Example:
        >>> share_right({"stain": "pale"}, {"stain": "pale", "focus": "sharp"}, ["stain", "focus", "platelets"])
        0.5
    """
    known = [c for c in concepts if c in truth]
    return sum(predicted.get(c) == truth[c] for c in known) / len(known) if known else None


def score_report_answers(
    logic: Logic,
    predicted: Mapping[str, str],
    truth: Mapping[str, str],
    in_scope: Collection[str],
    *,
    spoiled: bool = False,
) -> dict[str, float | None]:
    """The figures of a report that depend on its answers alone.

    Args:
        logic: the domain.
        predicted: concept -> answer read from the report.
        truth: concept -> true answer, derived ones (the impression) included.
        in_scope: concepts that the expert can verify. The others known to be true are out of scope, derived
            concepts being neither.
        spoiled: something else is wrong with the report (unsupported statement, cut off), so that it can't be
            whole.

    Returns:
        `whole_report_accuracy`: 1 if every in-scope concept and every derived one is right and nothing is
        spoiled, else 0; None if one of them is not known. `in_scope_accuracy`, `out_of_scope_accuracy`: share
        right, an omitted one being wrong. `omissions`: share of the known concepts of which nothing is said.
        `path_consistency`: whether some valid path agrees with all answers; None when there is no definite answer.

    Raises:
        ValueError: a concept of `in_scope` is not in the logic.
    """
    unknown = set(in_scope) - set(logic.concepts)
    if unknown:
        raise ValueError(
            f"in_scope names {sorted(unknown)}, not in {logic.domain}: choose from {list(logic.concepts)}"
        )
    derived = set(logic.derived_concepts)
    needed = set(in_scope) | derived
    others = [c for c in logic.order if c not in needed]
    known = [c for c in logic.order if c in truth]
    whole = None
    if needed <= set(truth):
        whole = float(not spoiled and all(predicted.get(c) == truth[c] for c in needed))
    return {
        "whole_report_accuracy": whole,
        "in_scope_accuracy": share_right(predicted, truth, [c for c in logic.order if c in set(in_scope)]),
        "out_of_scope_accuracy": share_right(predicted, truth, others),
        "omissions": sum(c not in predicted for c in known) / len(known) if known else None,
        "path_consistency": path_consistency(logic, predicted),
    }


def path_consistency(logic: Logic, predicted: Mapping[str, str]) -> float | None:
    """1 if some valid path agrees with all answers, else 0; None when nothing definite was answered."""
    if all(value in HEDGED for value in predicted.values()):
        return None
    return float(is_consistent(logic, predicted))


def score_question_answers(
    predicted: Mapping[str, str], truth: Mapping[str, str], asked: Iterable[str]
) -> dict[str, float | None]:
    """`question_accuracy` (share right of the asked and known concepts) and `conversation_accuracy` (all right).

    Example:
        >>> score_question_answers({"a": "x"}, {"a": "x", "b": "y"}, ["a", "b", "c"])
        {'question_accuracy': 0.5, 'conversation_accuracy': 0.0}
    """
    share = share_right(predicted, truth, asked)
    return {"question_accuracy": share, "conversation_accuracy": None if share is None else float(share == 1.0)}
