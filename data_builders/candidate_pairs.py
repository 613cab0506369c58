"""The loop that symbolic and expert pairs share: candidates of each case -> scores -> Preference records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from data_builders.expected_scoring import Probabilities, expected_score
from data_builders.loop import commit_each
from data_builders.pairing import Pair, PairingConfig, Scored, make_pairs
from data_builders.reading import prompt_of, read_answer
from data_builders.scoring import ScoreWeights, score_reading
from vlmalign.clinical import Logic
from vlmalign.records import Candidate, Case, DatasetBuild, Message, Preference, RecordFolder
from vlmalign.records.answered_case import check_case_is_there
from vlmalign.records.preference import Source

Uncertain = Literal["drop", "weigh"]


@dataclass(frozen=True)
class Known:
    """What a source knows of one case.

    Attributes:
        answers: concept -> value, certain ones only.
        experts: who said so, id and version.
        uncertain: concepts left out because their source was not sure.
        probabilities: of every concept that the source speaks of, value -> probability.
        not_assessed: concepts that it speaks of and cannot judge -> why, e.g. what a measurement needs does not
            hold.
    """

    answers: Mapping[str, str]
    experts: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = field(default=())
    probabilities: Probabilities = field(default_factory=dict)
    not_assessed: Mapping[str, str] = field(default_factory=dict)

    @property
    def left_open(self) -> dict[str, int]:
        """How many concepts the source speaks of and does not settle, for the counts of a build.

        Example:
            >>> Known({}, uncertain=("stain",), not_assessed={"cardiomegaly": "a child"}).left_open
            {'uncertain_concepts': 1, 'not_assessed_concepts': 1}
        """
        counts = {"uncertain_concepts": len(self.uncertain)}
        return counts | ({"not_assessed_concepts": n} if (n := len(self.not_assessed)) else {})


@dataclass(frozen=True)
class Grounding:
    """How pairs are decided: where knowledge comes from, how it scores, which pairs are kept.

    With `uncertain` "weigh" claims count by probability, see `expected_score`; with "drop" only sure ones count.
    """

    logic: Logic
    source: Source
    judge: str
    known: Callable[[Case], Known]
    weights: ScoreWeights
    pairing: PairingConfig
    concepts: Collection[str] | None = None
    uncertain: Uncertain = "drop"

    @property
    def weighs(self) -> bool:
        """Whether claims count by probability."""
        return self.uncertain == "weigh"


def candidates_by_case(folder: RecordFolder[Candidate], cases: RecordFolder[Case]) -> dict[str, list[Candidate]]:
    """The candidates of each case in file order; a candidate of a case that is not there is refused."""
    names = {case.id for case in cases}
    grouped: dict[str, list[Candidate]] = {}
    for candidate in folder:
        check_case_is_there(candidate, names, folder.path)
        grouped.setdefault(candidate.case_id, []).append(candidate)
    return grouped


def write_pairs(
    cases: RecordFolder[Case],
    candidates: RecordFolder[Candidate],
    out: str | Path,
    grounding: Grounding,
    *,
    config: Mapping[str, Any],
    overwrite: bool,
) -> Path:
    """Write the pairs of every case that has candidates, in the order of the cases.

    Counted in the manifest: cases (`cases`, `cases_without_candidates`, `cases_without_knowledge`,
    `cases_without_pair`, per prompt where a case has several), `uncertain_concepts`, and what
    `make_pairs` left out.
    """
    data_use = cases.manifest.data_use
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=data_use) as build:
        if build.finished:
            return build.path
        grouped = candidates_by_case(candidates, cases)
        commit_each(build, cases, lambda case: _pairs_of(case, grouped.get(case.id, []), grounding))
    return build.path


def _pairs_of(
    case: Case, candidates: list[Candidate], grounding: Grounding
) -> tuple[list[Preference], Counter[str]]:
    if not candidates:
        return [], Counter(cases=1, cases_without_candidates=1)
    known = grounding.known(case)
    counts: Counter[str] = Counter(cases=1, **known.left_open)
    if not _checkable(known, grounding):
        return [], +(counts + Counter(cases_without_knowledge=1))
    pairs: list[Pair] = []
    for same_prompt in by_prompt(case, candidates):
        scored = [score_candidate(case, candidate, known, grounding) for candidate in same_prompt]
        more_pairs, more_counts = make_pairs(scored, grounding.pairing)
        pairs += more_pairs
        counts += more_counts
    return [_preference(case, pair, n, known, grounding) for n, pair in enumerate(pairs)], counts


def by_prompt(case: Case, candidates: list[Candidate]) -> list[list[Candidate]]:
    """Candidates that answer the same prompt and the same later questions: only these compare."""
    groups: dict[tuple[Message, ...], list[Candidate]] = {}
    for candidate in candidates:
        asked = tuple(m for m in candidate.messages if m.role != "assistant")
        groups.setdefault((*prompt_of(case, candidate), *asked), []).append(candidate)
    return list(groups.values())


def score_candidate(case: Case, candidate: Candidate, known: Known, grounding: Grounding) -> Scored:
    """Read one candidate and score it against what is known of its case."""
    reading = read_answer(grounding.logic, prompt_of(case, candidate), candidate.messages)
    concepts = _checkable(known, grounding) if grounding.concepts is None else set(grounding.concepts)
    if reading.asked is not None:  # a conversation owes answers to its questions only
        concepts &= set(reading.asked)
    score = partial(expected_score, probabilities=known.probabilities) if grounding.weighs else score_reading
    found = score(
        grounding.logic,
        reading,
        known.answers,
        weights=grounding.weights,
        concepts=frozenset(concepts),
        finished=candidate.finished,
    )
    return Scored(candidate, found, reading.words, len(reading.parsed.unrecognised))


def _checkable(known: Known, grounding: Grounding) -> set[str]:
    """Concepts that claims can be held against."""
    return set(known.answers) | (set(known.probabilities) if grounding.weighs else set())


def _preference(case: Case, pair: Pair, number: int, known: Known, grounding: Grounding) -> Preference:
    chosen, rejected = pair.chosen, pair.rejected
    return Preference(
        id=f"{case.id}/{grounding.source}/{number}",
        case_id=case.id,
        group_id=case.group_id,
        split=case.split,
        images=case.images,
        prompt=prompt_of(case, chosen.candidate),
        chosen=chosen.candidate.messages,
        rejected=rejected.candidate.messages,
        margin=None if pair.margin is None else round(pair.margin, 9),
        source=grounding.source,
        expert_ids=known.experts,
        judge_ids=(grounding.judge,),
        provenance={
            "chosen_candidate": chosen.candidate.id,
            "rejected_candidate": rejected.candidate.id,
            "policy": chosen.candidate.policy,
            "known": dict(sorted(known.answers.items())),
            "uncertain": sorted(known.uncertain),
            "chosen_score": _score_of(chosen),
            "rejected_score": _score_of(rejected),
            "unverified_difference": pair.unverified_difference,
            "length": length_statistics(chosen, rejected),
            **({"probabilities": _rounded(known.probabilities)} if grounding.weighs else {}),
        },
    )


def _rounded(probabilities: Probabilities) -> dict[str, dict[str, float]]:
    return {c: {v: round(p, 6) for v, p in of.items()} for c, of in sorted(probabilities.items())}


def _score_of(scored: Scored) -> dict[str, Any]:
    score = scored.score
    if score.value is None:
        return {"invalid": score.reason}
    return {"value": round(score.value, 9), "wrong": list(score.wrong), "omitted": list(score.omitted)}


def length_statistics(chosen: Scored, rejected: Scored) -> dict[str, int | None]:
    """Words and tokens of both answers and their differences; tokens are None where they were not recorded."""
    a, b = chosen.candidate.tokens, rejected.candidate.tokens
    return {
        "chosen_words": chosen.words,
        "rejected_words": rejected.words,
        "words_difference": chosen.words - rejected.words,
        "chosen_tokens": a,
        "rejected_tokens": b,
        "tokens_difference": None if a is None or b is None else a - b,
    }


def load_inputs(cases: str | Path, candidates: str | Path) -> tuple[RecordFolder[Case], RecordFolder[Candidate]]:
    """Open the two folders that every candidate-based builder reads."""
    return RecordFolder(cases, Case), RecordFolder(candidates, Candidate)
