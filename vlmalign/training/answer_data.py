"""Folders of answers and of pairs as states of a frozen model, each answer computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from PIL import Image
from tqdm.auto import tqdm

from vlmalign.data import DataSource
from vlmalign.records import Candidate, Case, DataError, Preference, RecordFolder
from vlmalign.records.answered_case import check_case_is_there
from vlmalign.records.progress import is_interactive
from vlmalign.rewards.answer_encoder import AnswerEncoder, EncodedAnswers
from vlmalign.rewards.pair_scoring import SIDES, pair_case, side_candidate
from vlmalign.training.kept_states import KeptStates
from vlmalign.training.mixture_config import AnswerFolders

T = TypeVar("T")
Purpose = Literal["training", "evaluation"]
Encoder = AnswerEncoder | KeptStates


class AnswerSet(NamedTuple):
    """N whole answers.

    Attributes:
        cases: the case of each.
        candidates: they.
        states: as the model has them.
        cut: ids of further candidates that the token limit cut; they are left out.
    """

    cases: list[Case]
    candidates: list[Candidate]
    states: EncodedAnswers
    cut: frozenset[str]


class PairSet(NamedTuple):
    """M pairs, repeats included; the states hold the chosen answers first, then the rejected ones.

    Attributes:
        names: folder and id of each, for errors.
        weights: factors of their losses.
        states: of 2 M answers.
    """

    names: list[tuple[Any, str]]
    weights: list[float]
    states: EncodedAnswers


def read_answers(encoder: Encoder, folders: AnswerFolders) -> AnswerSet:
    """All whole answers of a folder of candidates, those of one case together.

    Raises:
        DataError: a candidate to a case that is not there, a case of split `test`, or no whole candidate.
    """
    cases, candidates = RecordFolder(folders.cases, Case), RecordFolder(folders.candidates, Candidate)
    known = {case.id: case for case in cases}
    of_case: dict[str, list[Candidate]] = defaultdict(list)
    cut: set[str] = set()
    for candidate in candidates:
        check_case_is_there(candidate, known, candidates.path)
        if candidate.finished:
            of_case[candidate.case_id].append(candidate)
        else:
            cut.add(candidate.id)
    if not of_case:
        raise DataError("the folder has no whole answer", "Generate longer ones.", file=candidates.path)
    answered = [case for case in known.values() if case.id in of_case]
    for case in answered:
        _refuse_test(case.split, cases, case.id)
    parts = []
    for batch in _batches(answered, 8, "answers"):
        rows = [(case, of_case[case.id], [cases.image(r, record=case.id) for r in case.images]) for case in batch]
        parts.append(_encode(encoder, rows))
    return AnswerSet(
        [case for case in answered for _ in of_case[case.id]],
        [candidate for case in answered for candidate in of_case[case.id]],
        _join(parts),
        frozenset(cut),
    )


def read_pairs(encoder: Encoder, sources: Sequence[DataSource], purpose: Purpose) -> PairSet:
    """All pairs of some folders; a folder's `repeat` repeats its pairs, and its `weight` is theirs.

    Raises:
        DataError: an empty folder, a pair without image, or, for training, one of split `test`.
    """
    names: list[tuple[Any, str]] = []
    weights: list[float] = []
    parts: list[EncodedAnswers] = []
    place: list[int] = []
    for source in sources:
        folder = RecordFolder(source.path, Preference)
        first, pairs = len(names), list(folder)
        if not pairs:
            raise DataError("the folder has no records", "Leave it out.", file=folder.path)
        for pair in pairs:
            if purpose == "training":
                _refuse_test(pair.split, folder, pair.id)
            if not pair.images:
                raise DataError("the pair has no image", "Leave it out.", file=folder.path, record=pair.id)
        for batch in _batches(pairs, 16, "pairs"):
            rows = [
                (
                    pair_case(pair),
                    [side_candidate(pair, side) for side in SIDES],
                    [folder.image(ref, record=pair.id) for ref in pair.images],
                )
                for pair in batch
            ]
            parts.append(_encode(encoder, rows))
        names += [(folder.path, pair.id) for pair in pairs]
        weights += [pair.weight * source.weight for pair in pairs]
        place += list(range(first, len(names))) * source.repeat
    states = _join(parts)
    rows_of = torch.tensor([2 * i for i in place] + [2 * i + 1 for i in place])
    taken = EncodedAnswers(
        states.answers[rows_of],
        states.prompts[rows_of],
        tuple(states.questions[row] for row in rows_of.tolist()),
        states.flops,
    )
    return PairSet([names[i] for i in place], [weights[i] for i in place], taken)


def _refuse_test(split: str, folder: RecordFolder[Any], record: str) -> None:
    if split == "test":
        raise DataError(
            "the record is of split 'test'",
            "Train on other records, or build the folder from training cases.",
            file=folder.path,
            record=record,
            field="split",
        )


def _encode(
    encoder: Encoder, rows: Sequence[tuple[Case, Sequence[Candidate], list[Image.Image]]]
) -> EncodedAnswers:
    return encoder.encode(
        [case for case, own, _ in rows for _ in own],
        [candidate for _, own, _ in rows for candidate in own],
        [images for _, own, images in rows for _ in own],
    )


def _join(parts: Sequence[EncodedAnswers]) -> EncodedAnswers:
    return EncodedAnswers(
        torch.cat([part.answers for part in parts]),
        torch.cat([part.prompts for part in parts]),
        tuple(question for part in parts for question in part.questions),
        sum(part.flops for part in parts),
    )


def _batches(items: Sequence[T], size: int, what: str) -> tqdm[Sequence[T]]:
    parts = [items[i : i + size] for i in range(0, len(items), size)]
    return tqdm(parts, desc=f"encode {what}", disable=not is_interactive())
