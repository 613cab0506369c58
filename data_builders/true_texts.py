"""Answers that are taken as true: demonstrations, labelled reports, and candidates that were verified right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_builders.candidate_pairs import Known, candidates_by_case
from data_builders.reading import prompt_of, read_answer
from vlmalign.clinical import Logic, verify
from vlmalign.records import Candidate, Case, DataError, DatasetBuild, Demonstration, Message, RecordFolder
from vlmalign.records import assistant as assistant_turn
from vlmalign.records.image import ImageRef
from vlmalign.records.manifest import DataUse, read_manifest, strictest
from vlmalign.records.preference import Split


@dataclass(frozen=True)
class TrueText:
    """An answer, with whose it is.

    Attributes:
        id: of the demonstration, case or candidate.
        case_id: the case.
        group_id: of the case.
        split: of the case.
        images: in the order of their places.
        folder: where the images lie.
        prompt: what was asked.
        messages: the answer; empty where the case has no report.
        case: the case, where cases were given.
        finished: False where the token limit cut it.
        trusted: whether it is true until shown otherwise; a policy's candidate is not.
        told: what its record says of where it comes from.
    """

    id: str
    case_id: str
    group_id: str
    split: Split
    images: tuple[ImageRef, ...]
    folder: Path
    prompt: tuple[Message, ...]
    messages: tuple[Message, ...]
    case: Case | None
    finished: bool = True
    trusted: bool = True
    told: Mapping[str, Any] = field(default_factory=dict)

    def adopt_images(self, build: DatasetBuild) -> None:
        """Take the images over into a folder that is being written."""
        for image in self.images:
            build.adopt(image, self.folder)


class TrueTexts:
    """The answers of a folder of demonstrations, of cases (their reports), or of candidates.

    Args:
        texts: the folder.
        cases: the cases of the answers; needed for candidates, and wherever answers are verified.

    Raises:
        DataError: a folder of another kind, or candidates without their cases.
    """

    def __init__(self, texts: str | Path, cases: str | Path | None = None) -> None:
        self.kind = read_manifest(texts).kind
        self.cases = None if cases is None else RecordFolder(cases, Case)
        kinds: dict[str, type[Any]] = {"demonstration": Demonstration, "case": Case, "candidate": Candidate}
        if self.kind not in kinds:
            raise DataError(
                f"the folder holds {self.kind} records",
                "Pass demonstrations, cases with reports, or candidates with their cases.",
                file=texts,
            )
        if self.kind == "candidate" and cases is None:
            raise DataError("candidates are known by their cases", "Pass the case folder as well.", file=texts)
        self.folder: RecordFolder[Any] = RecordFolder(texts, kinds[self.kind])

    @property
    def identity(self) -> dict[str, str | None]:
        """Hashes for the config."""
        return {"texts": self.folder.sha256, "cases": None if self.cases is None else self.cases.sha256}

    @property
    def data_use(self) -> DataUse:
        """Where what is made of them may be sent."""
        folders = [self.folder, *([] if self.cases is None else [self.cases])]
        return strictest(folder.manifest.data_use for folder in folders)

    def __len__(self) -> int:
        return len(self.folder)

    def __iter__(self) -> Iterator[TrueText]:
        cases = {} if self.cases is None else {case.id: case for case in self.cases}
        if self.kind == "candidate":
            assert self.cases is not None
            grouped = candidates_by_case(self.folder, self.cases)
            for case in cases.values():
                yield from (self._of_candidate(case, candidate) for candidate in grouped.get(case.id, ()))
            return
        for record in self.folder:
            yield self._of_case(record, cases) if self.kind == "case" else self._of_demonstration(record, cases)

    def _of_candidate(self, case: Case, candidate: Candidate) -> TrueText:
        assert self.cases is not None
        told = {"policy": candidate.policy, "candidate": candidate.id}
        return TrueText(
            candidate.id, case.id, case.group_id, case.split, case.images, self.cases.path,
            prompt_of(case, candidate), candidate.messages, case, candidate.finished, False, told,
        )  # fmt: skip

    def _of_case(self, case: Case, cases: Mapping[str, Case]) -> TrueText:
        text = None if case.reference is None else case.reference.text
        messages = (assistant_turn(text),) if text and text.strip() else ()
        return TrueText(
            case.id, case.id, case.group_id, case.split, case.images, self.folder.path, case.messages, messages,
            cases.get(case.id) if cases else case,
        )  # fmt: skip

    def _of_demonstration(self, record: Demonstration, cases: Mapping[str, Case]) -> TrueText:
        return TrueText(
            record.id, record.case_id, record.group_id, record.split, record.images, self.folder.path,
            record.prompt, record.response, cases.get(record.case_id), told=record.provenance,
        )  # fmt: skip


@dataclass(frozen=True)
class Trusted:
    """What of a text may be taken as true.

    Attributes:
        reason: why the text is left out; None: it is not.
        concepts: its claims that are true; None: all.
        known: what is known of its case.
        experts: who knows it.
    """

    reason: str | None = None
    concepts: frozenset[str] | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    experts: tuple[str, ...] = ()


def trust(logic: Logic, text: TrueText, knowledge: Callable[[Case], Known] | None) -> Trusted:
    """Hold a text against what is known of its case, if anything is.

    A labelled text is trusted where nothing is known; a candidate only as far as it was verified: it must be
    whole, state something that is known, and nothing that is wrong.
    """
    if not text.messages:
        return Trusted("texts_without_report")
    parsed = read_answer(logic, text.prompt, text.messages).parsed
    if not parsed.claims:
        return Trusted("texts_without_claims")
    experts = tuple(text.told.get("expert_ids", ()))
    known = Known({}) if knowledge is None or text.case is None else knowledge(text.case)
    if not known.answers:
        return Trusted(None if text.trusted else "texts_without_knowledge", experts=experts)
    found = verify(logic, parsed, known.answers)
    right = text.finished and not found.wrong and found.consistent and (text.trusted or found.correct)
    reason = None if right else "texts_not_right" if text.finished else "texts_unfinished"
    concepts = None if text.trusted else frozenset(found.correct)
    return Trusted(reason, concepts, known.answers, tuple(sorted({*experts, *known.experts})))
