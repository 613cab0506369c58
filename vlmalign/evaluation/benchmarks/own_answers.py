"""Our own format of several answers to a question: a folder of candidates and a reward's judgements of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmalign.records import Candidate, DataError, RecordFolder, read_manifest
from vlmalign.records.scores import read_scores

FORMAT = (
    "a candidate folder whose records say in extra.correct which are right, and a judgement folder over it "
    "(`vlmalign score REWARD --candidates`)"
)


def read_own_answers(files: Sequence[Path], by: str = "subset") -> list[dict[str, Any]]:
    """Rows as the published log has them: id, group, subset, scores with the right answers first, num_correct,
    text.

    An answer without a valid judgement has the score None.

    Args:
        files: one folder of candidates and one of judgements of these.
        by: the entry of `extra` that names the subset.

    Raises:
        DataError: other folders, a candidate that does not say whether it is correct, a question of which all or
            none are right, or judgements of other candidates.
    """
    kinds = {file: read_manifest(file).kind for file in files}
    if sorted(kinds.values()) != ["candidate", "judgement"]:
        told = ", ".join(f"{file} ({kind})" for file, kind in kinds.items())
        raise DataError(f"the folders are {told}: one of candidates and one of judgements of them are needed",
                        "Name both: --predictions CANDIDATES --predictions JUDGED.")  # fmt: skip
    folder = RecordFolder(next(file for file, kind in kinds.items() if kind == "candidate"), Candidate)
    scores = read_scores(
        next(file for file, kind in kinds.items() if kind == "judgement"), of=folder.sha256, made_from="candidates"
    )
    questions: dict[str, list[Candidate]] = {}
    for candidate in folder:
        if not isinstance(candidate.extra.get("correct"), bool):
            raise DataError("it does not say whether it is right", "Set extra.correct to true or false.",
                            file=folder.path, record=candidate.id, field="extra.correct")  # fmt: skip
        questions.setdefault(candidate.case_id, []).append(candidate)
    if not set(scores.judgements) & {c.id for found in questions.values() for c in found}:
        raise DataError("no judgement is of these candidates", "Give the judgements of these candidates.",
                        file=scores.source, field="candidate_ids")  # fmt: skip
    rows = []
    for case_id, found in questions.items():
        ordered = sorted(found, key=lambda candidate: not candidate.extra["correct"])
        right = sum(candidate.extra["correct"] for candidate in found)
        if not 0 < right < len(found):
            raise DataError(f"{right} of its {len(found)} answers are right: some must be, and some not",
                            "Give right and wrong answers to every question.",
                            file=folder.path, record=ordered[0].id)  # fmt: skip
        rows.append({
            "id": case_id, "group": ordered[0].group_id, "subset": ordered[0].extra.get(by), "num_correct": right,
            "scores": [scores.score(candidate.id) for candidate in ordered],
            "text": [candidate.text for candidate in ordered],
        })  # fmt: skip
    return rows
