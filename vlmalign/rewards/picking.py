"""Best-of-n as a folder: of each case's candidates the one that a reward scores highest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from vlmalign.records import Candidate, DatasetBuild, RecordFolder
from vlmalign.records.manifest import strictest
from vlmalign.records.scores import Scores, read_scores
from vlmalign.rewards.best_of_n import best_of_n, lower_bound


def pick_best_of_n(
    candidates: str | Path,
    judged: str | Path,
    out: str | Path,
    *,
    n: int | None = None,
    pessimism: float = 0.0,
    overwrite: bool = False,
) -> Path:
    """Write the picked candidate of every case, in the order in which the cases come in the candidates. Resumable.

    `extra["best_of_n"]` of a pick tells its score, std and `value` (score - pessimism * std), how many candidates
    it was picked from, how many of them were scored and shared the highest value, and who judged
    (`expert_ids`: the experts behind that reward, if any).

    Args:
        candidates: folder of candidates.
        judged: folder of judgements of them.
        out: folder of candidates to write.
        n: only the first n of each case, in the folder's order; default all.
        pessimism: see `best_of_n`.
        overwrite: start anew.

    Returns:
        `out`. Its manifest counts `cases`, `picked`, `tied` (several share the highest value: the first of them is
        picked), `none_valid` (cases without a pick), `invalid` and `unjudged` (candidates passed over), and
        `fewer_than_n` (cases with fewer candidates than n).

    Raises:
        ValueError: n below 1, a pessimism below 0, or with pessimism a score without a standard deviation.
        DataError: a folder that cannot be used, or judgements of other candidates.
    """
    if n is not None and n < 1:
        raise ValueError(f"n is {n}: at least 1 candidate is needed to pick from")
    best_of_n([], pessimism=pessimism)  # refuse a bad pessimism before anything is written
    folder = RecordFolder(candidates, Candidate)
    scores = read_scores(judged, of=folder.sha256, made_from="candidates")
    config = {
        "stage": "pick_best_of_n",
        "candidates": folder.sha256,
        "judged": scores.sha256,
        "judge": scores.judge,
        "criterion": scores.criterion,
        "n": n,
        "pessimism": pessimism,
    }
    data_use = strictest([folder.manifest.data_use, scores.data_use])
    with DatasetBuild(out, "candidate", config, overwrite=overwrite, data_use=data_use) as build:
        if build.finished:
            return build.path
        of_case: dict[str, list[Candidate]] = {}
        for candidate in folder:
            of_case.setdefault(candidate.case_id, []).append(candidate)
        for case_id, answers in of_case.items():
            if not build.has(case_id):
                build.commit(case_id, *_pick(answers, scores, n, pessimism))
    return build.path


def _pick(
    answers: list[Candidate], scores: Scores, n: int | None, pessimism: float
) -> tuple[list[Candidate], Counter[str]]:
    """The pick of one case, or none, and the counts."""
    drawn = answers[:n]
    found = {c.id: scores.judgements[c.id] for c in drawn if c.id in scores.judgements}
    best = best_of_n(found.values(), pessimism=pessimism)
    counts = Counter(best.counts) + Counter(unjudged=len(drawn) - len(found))
    counts["cases"] = 1
    counts["none_valid"] = int(not best.picks)
    counts["fewer_than_n"] = int(n is not None and len(drawn) < n)
    if not best.picks:
        return [], +counts
    (name,) = best.picks.values()
    values = [value for j in found.values() if (value := lower_bound(j, pessimism)) is not None]
    judgement = found[name]
    told: dict[str, Any] = {
        "candidates": len(drawn),
        "scored": len(values),
        "highest": values.count(max(values)),
        "score": judgement.score,
        "std": judgement.std,
        "value": max(values),
        "pessimism": pessimism,
        "judge": scores.judge,
        "criterion": scores.criterion,
        **({"expert_ids": list(scores.experts)} if scores.experts else {}),
    }
    (pick,) = (candidate for candidate in drawn if candidate.id == name)
    return [pick.model_copy(update={"extra": {**pick.extra, "best_of_n": told}})], +counts
