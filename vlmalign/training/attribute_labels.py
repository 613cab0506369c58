"""Labels of answers by attribute, read from judgements; a gap stays a gap."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vlmalign.records import Candidate, DataError, Judgement, RecordFolder
from vlmalign.training.mixture_config import Attribute


def attribute_labels(
    attributes: Mapping[str, Attribute], candidates: Sequence[Candidate], *, cut: Collection[str] = ()
) -> NDArray[np.float64]:
    """One number per answer and attribute, (N, A), NaN where there is none; more is better.

    There is none where an answer was not judged, its judgement is invalid or lacks the component, or, of the
    number of words, where the token limit cut the answer.

    Args:
        attributes: what is read, by name.
        candidates: the answers, N.
        cut: ids of further answers that may have been judged, and are left out.

    Raises:
        DataError: judgements that fit no answer or judge one twice, of several criteria, or with no such component
            anywhere.
    """
    columns = []
    for name, attribute in attributes.items():
        sign = -1.0 if attribute.lower_is_better else 1.0
        found = (
            _words(candidates)
            if attribute.words
            else _judged(name, attribute, {*cut, *(candidate.id for candidate in candidates)})
        )
        columns.append([sign * found.get(candidate.id, np.nan) for candidate in candidates])
    return np.array(columns, dtype=np.float64).T


def _words(candidates: Sequence[Candidate]) -> dict[str, float]:
    return {c.id: float(len(c.text.split())) for c in candidates if c.finished}


def _judged(name: str, attribute: Attribute, ids: set[str]) -> dict[str, float]:
    assert attribute.judgements is not None
    folder = RecordFolder(attribute.judgements, Judgement)
    field = f"attributes.{name}"
    chosen = [j for j in folder if attribute.criterion in (None, j.criterion)]
    criteria = sorted({judgement.criterion for judgement in chosen})
    if len(criteria) != 1:
        what = f"criteria are {criteria}" if criteria else f"criterion {attribute.criterion!r} is of none"
        raise DataError(what, "Name one of the folder's with `criterion`.", file=folder.path, field=field)
    found: dict[str, float] = {}
    seen: set[str] = set()
    for judgement in chosen:
        _check(judgement, ids, seen, folder, field)
        seen.add(judgement.candidate_ids[0])
        value = judgement.score if attribute.component is None else judgement.components.get(attribute.component)
        if judgement.valid and value is not None:
            found[judgement.candidate_ids[0]] = value
    if not found:
        known = sorted({part for judgement in chosen for part in judgement.components})
        raise DataError(
            f"no judgement has a valid {attribute.component or 'score'}",
            f"Name a component that they have ({', '.join(known) or 'none'}), or judge the candidates.",
            file=folder.path,
            field=field,
        )
    return found


def _check(
    judgement: Judgement, ids: set[str], seen: set[str], folder: RecordFolder[Judgement], field: str
) -> None:
    answer = judgement.candidate_ids[0]
    problem = None
    if len(judgement.candidate_ids) != 1:
        problem = "the judgement compares two candidates", "Give scores of single ones."
    elif judgement.step is not None:
        problem = "the judgement is of one step", "Give judgements of whole answers."
    elif answer not in ids:
        problem = (
            f"candidate {answer!r} is not in the folder of candidates",
            "Give those that were judged.",
        )
    elif answer in seen:
        problem = f"candidate {answer!r} is judged twice", "Give one judgement of each."
    if problem:
        raise DataError(problem[0], problem[1], file=folder.path, record=judgement.id, field=field)
