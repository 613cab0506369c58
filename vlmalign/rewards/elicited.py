"""Confidence elicited from a model's own answers: what it says, how its samples agree, and both together.

(Xiong et al. 2024, arXiv:2306.13063, sec. 3; the ranking of top-k guesses, Pair-Rank, needs prompts of its own and
is not here.) What cannot be told is missing, with a reason: a confidence that nobody stated is not one half.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vlmalign.clinical import Logic, load_logic
from vlmalign.clinical.schema import RESERVED
from vlmalign.records import Candidate, Case, DatasetBuild, Judgement, RecordFolder
from vlmalign.records.answered_case import check_case_is_there
from vlmalign.records.hashing import config_hash
from vlmalign.records.manifest import strictest
from vlmalign.rewards.claim_reward import parse_candidate
from vlmalign.rewards.confidence import stated_confidence
from vlmalign.rewards.scoring import CUT

Method = Literal["verbal", "sampled", "aggregated"]
METHODS = ("verbal", "sampled", "aggregated")
TEXT = "text"  # the one thing that an answer says where no logic reads its claims


@dataclass(frozen=True)
class Elicited:
    """One answer's confidence.

    Attributes:
        confidence: in [0, 1], None where it is missing.
        reason: why it is missing.
        claims: confidence of each claim by concept (or of the text).
    """

    confidence: float | None
    reason: str | None = None
    claims: Mapping[str, float] = field(default_factory=dict)


def verbal_confidence(answers: Sequence[str]) -> list[Elicited]:
    """What each answer says of itself, by its last line `Confidence: 7`.

    Example:
        >>> [found.confidence for found in verbal_confidence(["Yes. Confidence: 7", "Yes."])]
        [0.7, None]
    """
    found = [stated_confidence(text).confidence for text in answers]
    return [Elicited(c, None if c is not None else "no confidence is stated") for c in found]


def sampled_confidence(said: Sequence[Mapping[str, str]]) -> list[Elicited]:
    """How many of the other samples agree with each answer (self-consistency).

    A claim's confidence is the share of the other samples that say the same among those that speak of its concept;
    an answer's is the mean over its claims. A claim of which no other sample speaks has none.

    Args:
        said: per sample of one case, concept -> value; or `text` -> the answer.

    Example:
        >>> found = sampled_confidence([{"stain": "pale"}, {"stain": "pale"}, {"stain": "dark", "focus": "sharp"}])
        >>> [each.confidence for each in found]
        [0.5, 0.5, 0.0]
    """
    why_none = "no other sample speaks of what it claims"
    found = []
    for i, own in enumerate(said):
        others = [(1.0, other) for j, other in enumerate(said) if j != i]
        found.append(_mean_of_claims(own, others, why_none))
    return found


def aggregated_confidence(said: Sequence[Mapping[str, str]], stated: Sequence[float | None]) -> list[Elicited]:
    """Agreement weighted by stated confidence (Avg-Conf): sum_j 1[same] c_j / sum_j c_j.

    The answer itself counts with its own stated confidence; samples that state none do not count. A claim of which
    no other sample that counts speaks has none: alone it would agree with itself, however unsure it says it is.

    Args:
        said: as for `sampled_confidence`.
        stated: each sample's stated confidence.

    Example:
        >>> said = [{"stain": "pale"}, {"stain": "pale"}, {"stain": "dark"}]
        >>> [round(each.confidence, 2) for each in aggregated_confidence(said, [0.9, 0.6, 0.5])]
        [0.75, 0.75, 0.25]
    """
    why_none = "no other sample that speaks of what it claims states a confidence above 0"
    found = []
    for i, own in enumerate(said):
        voters = [(c, sample) for j, (c, sample) in enumerate(zip(stated, said, strict=True)) if c and j != i]
        heard = {concept for _, sample in voters for concept in sample}
        mine = [(c, {k: v for k, v in own.items() if k in heard}) for c in [stated[i]] if c]
        found.append(_mean_of_claims(own, [*voters, *mine], why_none))
    return found


def _mean_of_claims(
    own: Mapping[str, str], voters: Sequence[tuple[float, Mapping[str, str]]], why_none: str
) -> Elicited:
    """Mean over claims of the weight of the voters that agree, among those that speak of its concept."""
    if not own:
        return Elicited(None, "no claim parsed")
    claims = {}
    for concept, value in own.items():
        votes = [(weight, said[concept] == value) for weight, said in voters if concept in said]
        if votes:
            claims[concept] = sum(weight for weight, same in votes if same) / sum(weight for weight, _ in votes)
    if not claims:
        return Elicited(None, why_none)
    return Elicited(sum(claims.values()) / len(claims), None, claims)


def said_by(candidate: Candidate, case: Case | None, logic: Logic | None) -> dict[str, str]:
    """What an answer says: its clear claims, or its text without case, spaces and stated confidence."""
    if logic is not None and case is not None:
        answers = parse_candidate(logic, case, candidate).answers
        return {concept: value for concept, value in answers.items() if value not in RESERVED}
    text = " ".join(stated_confidence(candidate.text).text.casefold().split())
    return {TEXT: text} if text else {}


def elicit_confidence(
    candidates: str | Path,
    out: str | Path,
    *,
    method: Method,
    cases: str | Path | None = None,
    logic: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a judgement of every candidate whose score and `confidence` are what was elicited. Resumable.

    Samples agree with those of their own case and policy only. An answer that the token limit cut is invalid and
    has no vote.

    Args:
        candidates: folder of candidates, several per case unless the method is "verbal".
        out: folder of judgements to write.
        method: "verbal", "sampled" or "aggregated".
        cases: with `logic`: the cases, whose prompts answers to single questions are read with.
        logic: compare claims by this clinical logic; default whole texts.
        overwrite: start anew.

    Raises:
        ValueError: an unknown method; `logic` without `cases`, or the other way round.
        DataError: a candidate to a case that is not there; a folder that cannot be used.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: use one of {', '.join(METHODS)}")
    if (logic is None) != (cases is None):
        raise ValueError("logic and cases belong together: claims are read with the prompts of the cases")
    answers = RecordFolder(candidates, Candidate)
    opened = None if cases is None else RecordFolder(cases, Case)
    domain = None if logic is None else load_logic(logic)
    known = {} if opened is None else {case.id: case for case in opened}
    by = None if domain is None else domain.name
    rules = None if domain is None else domain.fingerprint
    judge = f"elicited_{method}@{config_hash([method, rules])[:8]}"
    config = {
        "stage": "elicit", "judge": judge, "candidates": answers.sha256, "logic": by,
        "cases": None if opened is None else opened.sha256,
    }  # fmt: skip
    together: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in answers:
        if opened is not None:
            check_case_is_there(candidate, known, answers.path)
        together[candidate.case_id, candidate.policy].append(candidate)
    uses = [answers.manifest.data_use] + ([] if opened is None else [opened.manifest.data_use])
    with DatasetBuild(out, "judgement", config, overwrite=overwrite, data_use=strictest(uses)) as build:
        for (case_id, policy), samples in together.items():
            unit = f"{case_id}/{policy}"
            if build.has(unit):
                continue
            found = _of_case(samples, known.get(case_id), domain, method)
            judged = [_judgement(judge, sample, each) for sample, each in zip(samples, found, strict=True)]
            build.commit(unit, judged, {"missing": sum(not judgement.valid for judgement in judged)})
    return Path(out)


def _of_case(
    samples: Sequence[Candidate], case: Case | None, logic: Logic | None, method: Method
) -> list[Elicited]:
    whole = [i for i, sample in enumerate(samples) if sample.finished]
    texts = [samples[i].text for i in whole]
    if method == "verbal":
        found = verbal_confidence(texts)
    else:
        said = [said_by(samples[i], case, logic) for i in whole]
        stated = [stated_confidence(text).confidence for text in texts]
        found = sampled_confidence(said) if method == "sampled" else aggregated_confidence(said, stated)
    results = [Elicited(None, CUT)] * len(samples)
    for i, each in zip(whole, found, strict=True):
        results[i] = each
    return results


def _judgement(judge: str, sample: Candidate, found: Elicited) -> Judgement:
    return Judgement(
        id=f"{sample.id}/confidence",
        case_id=sample.case_id,
        candidate_ids=(sample.id,),
        criterion="confidence",
        score=found.confidence,
        components={concept: value for concept, value in found.claims.items()},
        judge=judge,
        confidence=found.confidence,
        valid=found.confidence is not None,
        invalid_reason=found.reason,
    )
