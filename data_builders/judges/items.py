"""Items to judge, from cases with their candidates or from preference pairs, in file order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from data_builders.candidate_pairs import candidates_by_case
from data_builders.judges.asking import JudgeAnswer, JudgeImage, JudgeItem
from data_builders.judges.config import JudgeConfig
from data_builders.reading import prompt_of
from vlmalign.records import Candidate, Case, ImageRef, Message, Preference, RecordFolder
from vlmalign.records.hashing import derive_seed
from vlmalign.records.manifest import DataUse
from vlmalign.records.scores import SIDES, side_id


@dataclass(frozen=True)
class Unit:
    """What is committed together: the items of one case or pair, and what of it is not judged."""

    name: str
    items: tuple[JudgeItem, ...]
    counts: Counter[str]


class Items:
    """What a run judges.

    Answers that the token limit cut are left out and counted (`unfinished_candidates`): what they do not say was
    not their choice. Answers to different prompts (conversations) are never put beside each other. Of a pair the
    sides are `<pair id>/chosen` and `<pair id>/rejected`, in an order that the pair's id decides.

    Args:
        config: which folders.

    Attributes:
        config: hashes of the folders, for the manifest.
        folders: folder -> where its data may be sent.

    Raises:
        DataError: a folder that cannot be used, or a candidate to a case that is not there.
    """

    def __init__(self, config: JudgeConfig) -> None:
        self._cases = None if config.cases is None else RecordFolder(config.cases, Case)
        self._candidates = None if config.candidates is None else RecordFolder(config.candidates, Candidate)
        self._pairs = None if config.pairs is None else RecordFolder(config.pairs, Preference)
        self._limit = config.limit
        opened: Sequence[tuple[str, RecordFolder | None]] = (
            ("cases", self._cases),
            ("candidates", self._candidates),
            ("pairs", self._pairs),
        )
        self.config = {name: folder.sha256 for name, folder in opened if folder is not None}
        self.folders: dict[Path, DataUse] = {
            folder.path: folder.manifest.data_use for _, folder in opened if folder is not None
        }

    def __len__(self) -> int:
        folder = self._pairs if self._pairs is not None else self._cases
        assert folder is not None
        return len(folder) if self._limit is None else min(self._limit, len(folder))

    def __iter__(self) -> Iterator[Unit]:
        return islice(self._of_pairs() if self._pairs is not None else self._of_cases(), self._limit)

    def _of_cases(self) -> Iterator[Unit]:
        assert self._cases is not None and self._candidates is not None
        grouped = candidates_by_case(self._candidates, self._cases)
        for case in self._cases:
            yield self._of_case(case, grouped.get(case.id, []))

    def _of_case(self, case: Case, candidates: list[Candidate]) -> Unit:
        counts = Counter(cases=1, cases_without_candidates=int(not candidates))
        same_prompt: dict[tuple[Message, ...], list[Candidate]] = {}
        for candidate in candidates:
            if not candidate.finished:
                counts["unfinished_candidates"] += 1
                continue
            asked = tuple(m for m in candidate.messages if m.role != "assistant")
            same_prompt.setdefault((*prompt_of(case, candidate), *asked), []).append(candidate)
        assert self._cases is not None
        items = tuple(
            JudgeItem(
                id=case.id if len(same_prompt) == 1 else f"{case.id}/{number}",
                case_id=case.id,
                prompt=prompt_of(case, group[0]),
                images=_images(self._cases, case.images),
                answers=tuple(JudgeAnswer(c.id, c.messages) for c in group),
                reference=None if case.reference is None else case.reference.text,
            )
            for number, group in enumerate(same_prompt.values())
        )
        return Unit(case.id, items, +counts)

    def _of_pairs(self) -> Iterator[Unit]:
        assert self._pairs is not None
        references = {} if self._cases is None else {c.id: c.reference.text for c in self._cases if c.reference}
        for pair in self._pairs:
            yield self._of_pair(pair, references)

    def _of_pair(self, pair: Preference, references: dict[str, str | None]) -> Unit:
        assert self._pairs is not None
        # a protocol that shows one order only must not meet the chosen answer first every time
        sides = SIDES if derive_seed(pair.id) % 2 else SIDES[::-1]
        turns = {"chosen": pair.chosen, "rejected": pair.rejected}
        item = JudgeItem(
            id=pair.id,
            case_id=pair.case_id,
            prompt=pair.prompt,
            images=_images(self._pairs, pair.images),
            answers=tuple(JudgeAnswer(side_id(pair.id, side), turns[side]) for side in sides),
            reference=references.get(pair.case_id),
        )
        return Unit(pair.id, (item,), Counter(pairs=1))


def _images(folder: RecordFolder, images: Sequence[ImageRef]) -> tuple[JudgeImage, ...]:
    return tuple(JudgeImage(folder.resolve(ref), ref.sha256) for ref in images)
