"""Preference pairs from judgements: the better of two answers by a judge's scores or verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_builders.candidate_pairs import by_prompt, candidates_by_case, length_statistics, load_inputs
from data_builders.judged_answers import FEEDBACK, Judged, read_judged, with_revisions
from data_builders.loop import commit_each
from data_builders.pairing import EPSILON, Pair, PairingConfig, Scored, make_pairs
from data_builders.reading import prompt_of
from data_builders.scoring import UNFINISHED, Score
from vlmalign.records import Candidate, Case, DataError, DatasetBuild, Judgement, Preference
from vlmalign.records.manifest import strictest

BUILDER = "judged_pairs@1"
NO_JUDGEMENT, NO_VERDICT = "no_judgement", "no_verdict"
#: what `make_pairs` says of answers, beside what is counted of verdicts under the same names
OF_ANSWERS = {"ties": "equal_net_wins", "invalid": "answers_invalid"}
#: smallest difference of two scores where nothing else is said
DEFAULT = PairingConfig(min_margin=0.1)


@dataclass(frozen=True)
class _Rules:
    judged: Judged
    score: str
    pairing: PairingConfig


def build_judged_pairs(
    cases: str | Path,
    candidates: str | Path,
    judgements: str | Path,
    out: str | Path,
    *,
    criterion: str | None = None,
    judge: str | None = None,
    score: str = "score",
    pairing: PairingConfig | None = None,
    overwrite: bool = False,
) -> Path:
    """Pair the candidates of each case by what one judge said of them.

    From scores: best against worst, or all pairs, with the smallest margin (CheXalign samples N reports, scores
    them against the reference and takes the best against the worst). From verdicts, with mode `all`: every decided
    comparison. With mode `best_worst`: among three or more answers each has the value (won - lost) / compared, and
    the margin is the difference of these; of two the verdict decides, and of a revision and its original. A vote's
    or jury's margin is the difference of both answers' shares of votes, another verdict has none. Only answers to
    one prompt are compared.

    Args:
        cases: Case folder.
        candidates: Candidate folder, those that were judged.
        judgements: Judgement folder.
        out: the Preference folder (`source="judge"`).
        criterion: which judgements decide; default the only one, or the jury's.
        judge: whose; default the only one's.
        score: `score`, or a component to use instead, e.g. `length_controlled`.
        pairing: which pairs are kept; default best against worst with a margin of 0.1.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts what `make_pairs` left out, `invalid:<state>`, and `ties`: answers with
        equal scores, or verdicts that call both equal. For verdicts also `verdicts`, and under `best_worst` the
        answers without a verdict, `answers_invalid`, and twos of answers whose (won - lost) / compared are equal
        or too near, `equal_net_wins`. Of the pairs `chosen_words`, `rejected_words` and `chosen_longer`.

    Raises:
        ValueError: options that make no sense with judgements.
        DataError: a folder cannot be used, the judgements are of other candidates, or have no such component.

    Example:
        >>> build_judged_pairs("/no/cases", "/no/candidates", "/no/judgements", "/no/out")
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: /no/cases: no such folder. Check the path.
    """
    pairing = pairing or DEFAULT
    _check(pairing)
    case_folder, candidate_folder = load_inputs(cases, candidates)
    judged = read_judged(judgements, criterion, judge)
    judged.check_candidates(candidate_folder)
    if judged.verdicts and score != "score":
        raise ValueError(f"score is {score!r}, but {judged.criterion!r} gives verdicts: leave score out.")
    config = {
        "builder": BUILDER,
        "cases": case_folder.sha256,
        "candidates": candidate_folder.sha256,
        "judgements": judged.folder.sha256,
        "criterion": judged.criterion,
        "judge": judged.judge,
        "score": score,
        "pairing": pairing.model_dump(),
    }
    folders = (case_folder, candidate_folder, judged.folder)
    data_use = strictest(folder.manifest.data_use for folder in folders)
    rules = _Rules(judged, score, pairing)
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            grouped = candidates_by_case(candidate_folder, case_folder)
            commit_each(build, case_folder, lambda case: _pairs_of(case, grouped.get(case.id, []), rules))
    return build.path


def _check(pairing: PairingConfig) -> None:
    if pairing.invalid_as_rejected:
        raise ValueError(
            "invalid_as_rejected is set: a judge's reply that could not be read says nothing against the answer. "
            "Leave it out."
        )
    if pairing.match_unverified:
        raise ValueError("match_unverified is set: judgements name no claims that it could match. Leave it out.")


def _pairs_of(case: Case, candidates: list[Candidate], rules: _Rules) -> tuple[list[Preference], Counter[str]]:
    judgements = rules.judged.by_case.get(case.id, [])
    if not candidates:
        return [], Counter(cases=1, cases_without_candidates=1)
    known = with_revisions(candidates, judgements)
    _check_known(judgements, known, rules)
    counts: Counter[str] = Counter(cases=1)
    pairs: list[Pair] = []
    for same_prompt in by_prompt(case, known):
        how = _from_verdicts if rules.judged.verdicts else _from_scores
        found, more = how(same_prompt, judgements, rules)
        pairs += found
        counts += more
    by_id = {name: j for j in judgements for name in j.candidate_ids if len(j.candidate_ids) == 1}
    records = [_preference(case, pair, n, by_id, judgements, rules) for n, pair in enumerate(pairs)]
    for pair in pairs:
        counts["chosen_words"] += pair.chosen.words
        counts["rejected_words"] += pair.rejected.words
        counts["chosen_longer"] += pair.chosen.words > pair.rejected.words
    return records, +counts


def _check_known(judgements: Sequence[Judgement], candidates: Sequence[Candidate], rules: _Rules) -> None:
    ids = {candidate.id for candidate in candidates}
    for judgement in judgements:
        strange = next((name for name in judgement.candidate_ids if name not in ids), None)
        if strange is not None:
            raise DataError(
                f"candidate {strange!r} is not in the candidate folder",
                "Pass the candidates that were judged.",
                file=rules.judged.folder.path,
                record=judgement.id,
                field="candidate_ids",
            )


def _scored(candidate: Candidate, score: Score) -> Scored:
    return Scored(candidate, score, sum(len(m.text.split()) for m in candidate.messages if m.role == "assistant"))


def _from_scores(
    candidates: Sequence[Candidate], judgements: Sequence[Judgement], rules: _Rules
) -> tuple[list[Pair], Counter[str]]:
    by_id = {}
    for judgement in judgements:
        if judgement.candidate_ids[0] in by_id:
            raise DataError(
                f"candidate {judgement.candidate_ids[0]!r} is judged twice",
                "Give one judgement of each candidate.",
                file=rules.judged.folder.path,
                record=judgement.id,
            )
        by_id[judgement.candidate_ids[0]] = judgement
    scored = [_scored(c, _score_of(c, by_id.get(c.id), rules)) for c in candidates]
    return make_pairs(scored, rules.pairing)


def _score_of(candidate: Candidate, judgement: Judgement | None, rules: _Rules) -> Score:
    if not candidate.finished:
        return Score(None, UNFINISHED)
    if judgement is None:
        return Score(None, NO_JUDGEMENT)
    if not judgement.valid:
        return Score(None, _state(judgement))
    if rules.score == "score":
        return Score(judgement.score, None, judgement.components)
    if rules.score not in judgement.components:
        raise DataError(
            f"the judgement has no component {rules.score!r}",
            f"It has: {', '.join(sorted(judgement.components)) or 'none'}.",
            file=rules.judged.folder.path,
            record=judgement.id,
            field="components",
        )
    return Score(judgement.components[rules.score], None, judgement.components)


def _state(judgement: Judgement) -> str:
    return (judgement.invalid_reason or "").partition(":")[0]


def _from_verdicts(
    candidates: Sequence[Candidate], judgements: Sequence[Judgement], rules: _Rules
) -> tuple[list[Pair], Counter[str]]:
    by_id = {candidate.id: candidate for candidate in candidates if candidate.finished}
    counts: Counter[str] = Counter(unfinished=len(candidates) - len(by_id))
    decided: list[tuple[Candidate, Candidate, float | None]] = []
    compared: Counter[str] = Counter()
    for judgement in judgements:
        if not all(name in by_id for name in judgement.candidate_ids):
            continue  # of another prompt, or of an answer that was cut
        counts["verdicts"] += 1
        if not judgement.valid:
            counts["invalid"] += 1
            counts[f"invalid:{_state(judgement)}"] += 1
            continue
        compared.update(judgement.candidate_ids)
        if judgement.verdict == "tie":
            counts["ties"] += 1
            continue
        first, second = (by_id[name] for name in judgement.candidate_ids)
        won, lost = (first, second) if judgement.verdict == "first" else (second, first)
        decided.append((won, lost, _margin(judgement)))
    several = (
        len(by_id) > 2 and rules.judged.criterion != FEEDBACK
    )  # a revision is compared with its original alone
    if rules.pairing.mode == "best_worst" and several:
        return _tournament(candidates, decided, compared, counts, rules)
    pairs, close = _one_by_one(decided, rules.pairing)
    counts += close
    counts["cases_without_pair"] += not pairs
    return pairs, +counts


def _margin(judgement: Judgement) -> float | None:
    share = judgement.components.get("share_first")
    return None if share is None else abs(2 * share - 1)


def _one_by_one(
    decided: Sequence[tuple[Candidate, Candidate, float | None]], pairing: PairingConfig
) -> tuple[list[Pair], Counter[str]]:
    """Each decided comparison by the rules of pairing; without a margin none can be too small."""
    counts: Counter[str] = Counter()
    found = []
    alone = pairing.model_copy(update={"mode": "best_worst", "max_pairs": None, "min_margin": EPSILON * 2})
    for won, lost, margin in decided:
        if margin is not None and margin < pairing.min_margin - EPSILON:
            counts["ties"] += 1
            continue
        pairs, left_out = make_pairs([_scored(won, Score(1.0)), _scored(lost, Score(0.0))], alone)
        counts += Counter({key: left_out[key] for key in ("duplicates", "too_long")})
        found += [Pair(pair.chosen, pair.rejected, margin, 0) for pair in pairs]
    if pairing.max_pairs is not None:
        found = sorted(found, key=lambda pair: -(pair.margin or 0.0))[: pairing.max_pairs]
    return found, counts


def _tournament(
    candidates: Sequence[Candidate],
    decided: Sequence[tuple[Candidate, Candidate, float | None]],
    compared: Counter[str],
    counts: Counter[str],
    rules: _Rules,
) -> tuple[list[Pair], Counter[str]]:
    net: Counter[str] = Counter()
    for won, lost, _ in decided:
        net[won.id] += 1
        net[lost.id] -= 1
    scored = []
    for candidate in candidates:
        n = compared[candidate.id]
        reason = UNFINISHED if not candidate.finished else NO_VERDICT
        scored.append(_scored(candidate, Score(net[candidate.id] / n) if n else Score(None, reason)))
    pairs, more = make_pairs(scored, rules.pairing)
    return pairs, +(counts + Counter({OF_ANSWERS.get(k, k): n for k, n in more.items()}))


def _preference(
    case: Case,
    pair: Pair,
    number: int,
    by_id: dict[str, Judgement],
    judgements: Sequence[Judgement],
    rules: _Rules,
) -> Preference:
    chosen, rejected = pair.chosen.candidate, pair.rejected.candidate
    about = [by_id.get(c.id) for c in (chosen, rejected)]
    critiques = [None if j is None else j.critique for j in about]
    ratings = [None if rules.judged.verdicts else s.score.value for s in (pair.chosen, pair.rejected)]
    deciding = next((j for j in judgements if {*j.candidate_ids} == {chosen.id, rejected.id}), None)
    members = sorted({name for j in (*about, deciding) if j is not None for name in j.extra.get("members", ())})
    return Preference(
        id=f"{case.id}/judge/{number}",
        case_id=case.id,
        group_id=case.group_id,
        split=case.split,
        images=case.images,
        prompt=prompt_of(case, chosen),
        chosen=chosen.messages,
        rejected=rejected.messages,
        margin=None if pair.margin is None else round(pair.margin, 9),
        chosen_rating=ratings[0],
        rejected_rating=ratings[1],
        chosen_critique=critiques[0],
        rejected_critique=critiques[1],
        source="judge",
        judge_ids=(rules.judged.judge, *members),
        expert_ids=rules.judged.experts,
        provenance={
            "chosen_candidate": chosen.id,
            "rejected_candidate": rejected.id,
            "policy": chosen.policy,
            "criterion": rules.judged.criterion,
            "score": None if rules.judged.verdicts else rules.score,
            "judgement": None if deciding is None else deciding.id,
            "length": length_statistics(pair.chosen, pair.rejected),
        },
    )
