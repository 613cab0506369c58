"""A reward from clinical logic: claims against the case's reference, and whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlmalign.clinical import Logic, answers_from_findings, parse_text
from vlmalign.records import Case
from vlmalign.rewards.claim_reward import ClaimReward, KnownAnswers
from vlmalign.rewards.claims import ClaimWeights


def reference_answers(logic: Logic, case: Case, min_probability: float) -> Mapping[str, str]:
    """What a case's reference tells: its findings, and its text where they say nothing."""
    if case.reference is None:
        return {}
    told = parse_text(logic, case.reference.text).answers if case.reference.text else {}
    found = answers_from_findings(logic, case.reference.findings, min_probability=min_probability).answers
    return {**told, **found}


class SymbolicReward(ClaimReward):
    """Claims of an answer against the reference of its case, and their consistency.

    An answer is invalid when none of its claims can be checked: nothing parsed, no reference, or the
    reference says nothing of what the answer speaks of.

    Args:
        logic: name or path of a clinical logic.
        weights: what claims are worth; names and numbers, or None for the defaults.
        concepts: only these are compared; default all.
        min_probability: what a finding's best value needs to count as known.
    """

    def __init__(
        self,
        logic: str,
        *,
        weights: ClaimWeights | Mapping[str, float] | None = None,
        concepts: Sequence[str] | None = None,
        min_probability: float = 0.8,
    ) -> None:
        super().__init__(logic, weights, concepts, min_probability)
        self.name = self.name_by_settings("symbolic")

    def known(self, case: Case) -> KnownAnswers:
        """What the case's reference tells."""
        answers = reference_answers(self.logic, case, self.min_probability)
        return KnownAnswers(answers, "no claim about a known concept" if answers else "the case has no reference")
