"""Whether a critique model's critiques help it to prefer the better answer, for often they do not.

In MM-RLHF a critique-based reward gained 7 to 17 points over none, but in BaseReward, on one training set, the
plain reward model was 13 points ahead of the critic: the critiques' quality decides. So it is measured, on
held-out pairs, before critiques are used.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmalign.clinical import Logic
from vlmalign.clinical.critique import check_critique, parse_critique
from vlmalign.clinical.parser import parse_conversation
from vlmalign.evaluation.conclusion import check_margin, conclude, explain
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.evaluation.judged_pairs import JudgedPairs
from vlmalign.evaluation.reward_metrics import PairFigures, accuracy_difference, pair_figures
from vlmalign.records import Judgement
from vlmalign.records.scores import SIDES, side_id

GIVEN = "-given"


@dataclass(frozen=True)
class CritiqueAgreement:
    """How often critiques say what is so.

    Attributes:
        statements: mean over critiques of the share of their checkable statements that agree with the answer's
            claims and with what is known; a critique without any is excluded.
        whole: share of critiques of which every checkable statement agrees, that pass over no claim of the answer
            and hold nothing that cannot be read. A critique without a checkable statement counts as not whole.
        unchecked: critiques that say nothing that could be checked.
        unknown_case: critiques of answers to cases nothing is known of; in neither figure.
        missing: answers without a critique, as every one was cut or empty; in neither figure.
    """

    statements: Estimate
    whole: Estimate
    unchecked: int
    unknown_case: int
    missing: int

    def to_dict(self) -> dict[str, Any]:
        """Estimates as their fields, counts as they are."""
        counts = {name: getattr(self, name) for name in ("unchecked", "unknown_case", "missing")}
        return {"statements": self.statements.to_dict(), "whole": self.whole.to_dict(), **counts}


@dataclass(frozen=True)
class CritiqueGate:
    """What critiques are worth.

    Attributes:
        own: pairs scored after the model's own critiques.
        plain: the same pairs by a reward model without critiques.
        given: the same pairs scored after given critiques, a bound from above; None where not measured.
        own_minus_plain: paired difference of the accuracies, pairs that both could score.
        given_minus_own: what better critiques would still gain.
        agreement: of the model's own critiques; None where not measured.
        margin: differences inside plus or minus this are of no interest.
        pairs: how many pairs were judged.
        training_pairs: how many of them are of split `train`.
    """

    own: PairFigures
    plain: PairFigures
    given: PairFigures | None
    own_minus_plain: Estimate
    given_minus_own: Estimate | None
    agreement: CritiqueAgreement | None
    margin: float
    pairs: int
    training_pairs: int

    @property
    def verdict(self) -> str:
        """`help`, `hurt`, `do not help` (the difference lies within the margin), or `undecided`."""
        found = conclude(self.own_minus_plain, self.margin)
        return {"benefit": "help", "harm": "hurt", "undecided": "undecided"}.get(found, "do not help")

    @property
    def sentences(self) -> list[str]:
        """The result in words."""
        begin = {
            "help": "Critiques help.",
            "hurt": "Critiques hurt: score without them.",
            "do not help": "Critiques do not help: they cost more and gain nothing of interest.",
            "undecided": "Undecided whether critiques help: there is no reason to use them yet.",
        }[self.verdict]
        difference = explain(self.own_minus_plain, self.margin, subject="pair accuracy after own critiques")
        told = [begin, difference]
        if self.training_pairs:
            told.append(
                f"{self.training_pairs} of the {self.pairs} pairs are of split 'train': where a model has learnt "
                "from them, this says nothing of new ones."
            )
        if self.own.unscored.mean:
            told.append(
                f"{100 * self.own.unscored.mean:.1f}% of the pairs had no score after own critiques and are left "
                "out of the difference."
            )
        if self.given is not None and self.given.accuracy.mean is not None:
            told.append(
                f"After given critiques it is {100 * self.given.accuracy.mean:.1f}%: a bound from above, which no "
                "new answer can have."
            )
        if self.agreement is not None and self.agreement.statements.mean is not None:
            told.append(
                f"Of what the critiques state, {100 * self.agreement.statements.mean:.1f}% agrees with the answer "
                "and with what is known."
            )
        return told

    def to_dict(self) -> dict[str, Any]:
        """The form in which a figures file holds it."""
        return {
            "verdict": self.verdict,
            "sentences": self.sentences,
            "margin": self.margin,
            "pairs": self.pairs,
            "training_pairs": self.training_pairs,
            "own": self.own.to_dict(),
            "plain": self.plain.to_dict(),
            "given_upper_bound": None if self.given is None else self.given.to_dict(),
            "own_minus_plain": self.own_minus_plain.to_dict(),
            "given_minus_own": None if self.given_minus_own is None else self.given_minus_own.to_dict(),
            "agreement": None if self.agreement is None else self.agreement.to_dict(),
        }


def critique_gate(
    own: JudgedPairs,
    plain: JudgedPairs,
    given: JudgedPairs | None = None,
    *,
    agreement: CritiqueAgreement | None = None,
    margin: float = 0.02,
) -> CritiqueGate:
    """Compare a critique model with a reward model that writes none, on the same held-out pairs.

    The plain one should be a scalar reward model of the same starting weights and training pairs, or more than the
    critiques differs.

    Args:
        own: scored after the model's own critiques.
        plain: scored without.
        given: scored after given critiques.
        agreement: from `critique_agreement`.
        margin: the smallest difference of interest.

    Raises:
        ValueError: judgements that are not what their place says, or of other pairs; a margin that is not
            positive.
    """
    _check_judge("own", own.judge, critique=True, given=False)
    _check_judge("plain", plain.judge, critique=False, given=False)
    if given is not None:
        _check_judge("given", given.judge, critique=True, given=True)
    check_margin(margin)
    return CritiqueGate(
        own=pair_figures(own.pairs),
        plain=pair_figures(plain.pairs),
        given=None if given is None else pair_figures(given.pairs),
        own_minus_plain=accuracy_difference(own, plain),
        given_minus_own=None if given is None else accuracy_difference(given, own),
        agreement=agreement,
        margin=margin,
        pairs=len(own.pairs),
        training_pairs=sum(judged.pair.split == "train" for judged in own.pairs),
    )


def _check_judge(place: str, judge: str, *, critique: bool, given: bool) -> None:
    """Refuse judgements in the wrong place: a bound from above taken for the model's own would always help."""
    is_critique, is_given = judge.partition("@")[0] == "critique", GIVEN in judge
    if (is_critique, is_given) != (critique, given):
        after = "given critiques" if given else "its own critiques"
        wanted = f"a critique reward after {after}" if critique else "a reward that writes no critiques"
        raise ValueError(
            f"{place} is judged by {judge}, expected {wanted}: give each folder of judgements in its place."
        )


def critique_agreement(
    judged: JudgedPairs,
    judgements: Mapping[str, Judgement],
    logic: Logic,
    known: Mapping[str, Mapping[str, str]],
) -> CritiqueAgreement:
    """Hold the critiques of judged pairs against the answers and against what is known of their cases.

    Args:
        judged: the pairs.
        judgements: by candidate id, with critiques.
        logic: the domain.
        known: case id -> concept -> value.
    """
    shares: list[float | None] = []
    whole: list[float | None] = []
    groups: list[Hashable] = []
    unchecked = unknown_case = missing = 0
    for pair in judged.pairs:
        for side in SIDES:
            found = judgements.get(side_id(pair.pair.id, side))
            if found is None or found.critique is None:
                missing += 1
                continue
            truth = known.get(pair.pair.case_id)
            if not truth:
                unknown_case += 1
                continue
            answer = parse_conversation(logic, (pair.pair.prompt[-1], *getattr(pair.pair, side)))
            check = check_critique(logic, parse_critique(logic, found.critique), answer, truth)
            shares.append(check.share)
            whole.append(float(check.share == 1 and not check.missed and not check.unrecognised))
            groups.append(pair.group)
            unchecked += check.share is None
    return CritiqueAgreement(_share(shares, groups), _share(whole, groups), unchecked, unknown_case, missing)


def _share(values: Sequence[float | None], groups: Sequence[Hashable]) -> Estimate:
    return cluster_estimate(values, groups, proportion=True) if values else Estimate.nothing()
