"""A report against a reference report, counted as GREEN counts, by claims instead of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from vlmalign.clinical import Logic, ParsedText, load_logic, parse_text
from vlmalign.clinical.schema import CONTRADICTORY, HEDGED
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.claim_reward import parse_candidate
from vlmalign.rewards.protocol import RewardOutput, check_aligned

#: what kind of error a differing claim is, by the aspect of its concept; any other one is a false finding
ERRORS = {"laterality": "wrong_location", "severity": "wrong_severity", "stage": "wrong_severity"}
COMPARISON = "comparison"


class Agreement(NamedTuple):
    """Claims of two reports, counted.

    Attributes:
        matched: concepts of which both say the same.
        false_finding: claimed otherwise than in the reference, or affirmed where it is silent.
        missing_finding: in the reference and not claimed.
        wrong_location: another side.
        wrong_severity: another severity or stage.
        wrong_comparison: statements about earlier images that are not in the reference.
    """

    matched: int
    false_finding: int
    missing_finding: int
    wrong_location: int
    wrong_severity: int
    wrong_comparison: int

    @property
    def errors(self) -> int:
        """All errors."""
        return sum(self) - self.matched

    @property
    def score(self) -> float | None:
        """Matched claims over matched claims and errors; None where there is neither.

        Example:
            >>> Agreement(3, 0, 1, 0, 0, 0).score
            0.75
        """
        total = sum(self)
        return self.matched / total if total else None


def compare_reports(logic: Logic, said: ParsedText, reference: ParsedText) -> Agreement:
    """Count what a report says against a reference report.

    Derived concepts are left out, as are claims that either side hedges. A concept on which a text contradicts
    itself differs from anything. Where the reference is silent, a denial is no error.

    Example:
        >>> logic = load_logic("peripheral_smear")
        >>> told = parse_text(logic, "No leukocyte is seen. Few platelets are seen. The stain is pale.")
        >>> said = parse_text(logic, "A leukocyte is seen. The stain is pale.")
        >>> found = compare_reports(logic, said, told)
        >>> found.matched, found.false_finding, found.missing_finding
        (1, 1, 1)
    """
    counts = dict.fromkeys(Agreement._fields, 0)
    claimed, true = said.answers, reference.answers
    for name, concept in logic.concepts.items():
        mine, theirs = claimed.get(name), true.get(name)
        if concept.derived or mine in HEDGED or theirs in HEDGED or theirs == CONTRADICTORY:
            continue
        if mine is None:
            counts["missing_finding"] += theirs is not None
        elif mine == theirs:
            counts["matched"] += 1
        elif theirs is not None:
            counts[ERRORS.get(concept.aspect, "false_finding")] += 1
        else:
            denied = concept.presence.denied if concept.presence else concept.no
            counts["false_finding"] += mine != denied
    more = _comparisons(said) - _comparisons(reference)
    counts["wrong_comparison"] = max(0, more)
    return Agreement(**counts)


def _comparisons(parsed: ParsedText) -> int:
    return sum(statement.kind == COMPARISON for statement in parsed.unsupported)


class ReportAgreementReward:
    """Agreement of a report with the reference report: matched claims / (matched claims + errors).

    GREEN's score (Ostmeier et al. 2024, eq. 1) with the claims that a clinical logic reads in the place of a
    language model's counts. With `length_controlled` it is divided by max(words of the report / words of the
    reference, 1), as CheXalign does (Hein et al. 2024), so that saying more does not pay by itself.

    Components: the counts of `Agreement`, `length_ratio`, and both scores, `plain` and `length_controlled`,
        whichever
    of the two is the score.

    A report is invalid when its case has no reference text, when nothing can be read in either, or when nothing in
    them can be compared.

    Args:
        logic: name or path of a clinical logic.
        length_controlled: divide by the ratio of lengths, where it is above one.
    """

    needs_images = False

    def __init__(self, logic: str, *, length_controlled: bool = False) -> None:
        self.logic = load_logic(logic)
        self.length_controlled = length_controlled
        self.name = f"report_agreement@{config_hash([self.logic.fingerprint, length_controlled])[:8]}"

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. Images are not looked at."""
        check_aligned(cases, candidates, images)
        rows = [self._score(case, candidate) for case, candidate in zip(cases, candidates, strict=True)]
        scores, reasons, components = zip(*rows, strict=True) if rows else ((), (), ())
        return RewardOutput.of(list(scores), reasons=list(reasons), components=list(components))

    def _score(self, case: Case, candidate: Candidate) -> tuple[float | None, str | None, dict[str, float]]:
        text = case.reference.text if case.reference else None
        if not text:
            return None, "the case has no reference text", {}
        reference = parse_text(self.logic, text)
        said = parse_candidate(self.logic, case, candidate)
        if not reference.claims:
            return None, "no claim parsed in the reference", {}
        if not said.claims:
            return None, "no claim parsed", {}
        found = compare_reports(self.logic, said, reference)
        plain = found.score
        if plain is None:
            return None, "nothing to compare", {}
        ratio = len(candidate.text.split()) / len(text.split())
        controlled = plain / max(ratio, 1.0)
        counts = {name: float(n) for name, n in found._asdict().items()}
        parts = {**counts, "plain": plain, "length_controlled": controlled, "length_ratio": ratio}
        return controlled if self.length_controlled else plain, None, parts
