"""Supervised examples that teach a model when to call an expert, and to answer by what the expert says.

After VILA-M3 (Nath et al. 2025): the prompt lists the experts; a question that one of them can settle is answered
by a call, any other one directly; after the call the expert's findings come back as a user turn. Here a question
is the expert's when its findings speak of the asked concept, and what the expert is unsure of is answered so; what
its number cannot mean on this image (a cardiothoracic ratio on a child's film) is answered as not assessed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_builders.candidate_pairs import Known
from data_builders.knowledge import ExpertKnowledge, FindingFolders, ReferenceKnowledge
from vlmalign.clinical import Logic, derive, parse_text, question_text, render_answer, render_report, report_prompt
from vlmalign.clinical.schema import HEDGED, NOT_ASSESSED, RESERVED, UNCERTAIN, BankName
from vlmalign.records import (
    Case,
    DatasetBuild,
    Demonstration,
    Finding,
    ImageRef,
    Message,
    RecordFolder,
    assistant,
    load_image,
    user,
)
from vlmalign.records.hashing import derive_seed

REPORT = "report"
Labels = Literal["reports", "reference"]


class ConsultationScript(Protocol):
    """How a conversation with an expert is worded; `experts` provides it."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the wording, for the config."""

    @property
    def introduction(self) -> str:
        """The list of experts, for the prompt."""

    def call(self, findings: Sequence[str]) -> str:
        """The call that asks for these findings, by their concepts; for all of them, everything."""

    def feedback(
        self, image: Image.Image, findings: Sequence[Finding], labels: NDArray[np.uint8] | None, call: str
    ) -> tuple[str, Image.Image | None]:
        """What comes back: text, and the overlay where there is one."""


def build_consultations(
    cases: str | Path,
    findings: FindingFolders,
    out: str | Path,
    *,
    logic: Logic,
    script: ConsultationScript,
    labels: Labels = "reports",
    questions_per_case: int = 2,
    reports: bool = True,
    seed: int = 0,
    bank: BankName = "train",
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write Demonstrations of calls, of answers after a call, and of answers without one.

    Args:
        cases: Case folder; one image a case.
        findings: Finding folder(s) of the expert on these cases.
        out: the Demonstration folder.
        logic: the domain's clinical logic.
        script: the wording of cards, calls and feedback.
        labels: what answers are taken from where the expert says nothing: the cases' reports or reference
            findings.
        questions_per_case: questions drawn for each case.
        reports: also ask for a report.
        seed: of questions and wording.
        bank: which paraphrases.
        min_probability: how sure a finding must be to be said without a hedge.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `calls`, `answers_after_call`, `hedged_after_call`, `direct_answers`,
        `questions_without_label` (neither the expert nor the labels know: left out), `cases_without_findings`
        and `cases_of_several_images` (left out).

    Raises:
        ValueError: questions_per_case below 0, or nothing asked for.
        DataError: a folder is missing or of another kind, or an image cannot be read.
    """
    if questions_per_case < 0 or not (questions_per_case or reports):
        raise ValueError(f"questions_per_case is {questions_per_case}: ask at least one, or set reports")
    folder = RecordFolder(cases, Case)
    expert = ExpertKnowledge(logic, findings, min_probability=min_probability)
    config = {
        "builder": "consultations@2",
        "cases": folder.sha256,
        "findings": expert.identity,
        "logic": logic.fingerprint,
        "script": dict(script.identity),
        "labels": labels,
        "questions_per_case": questions_per_case,
        "reports": reports,
        "seed": seed,
        "bank": bank,
        "min_probability": min_probability,
    }
    writer = _Writer(logic, script, expert, labels, questions_per_case, reports, seed, bank)
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "demonstration", config, overwrite=overwrite, data_use=data_use) as build:
        mine = build.part(len(folder))
        for number, case in enumerate(() if build.finished else folder):
            if number in mine and not build.has(case.id):
                records, counts = writer.consult(build, folder, case)
                build.commit(case.id, records, +counts)
    return build.path


def measured_by(logic: Logic, concept: str, spoken: frozenset[str]) -> tuple[str, ...] | None:
    """The findings that settle a concept, of those that an expert speaks of; None: it cannot.

    An observed concept needs a finding of its name or of its measurement; a derived one all that its rules ask.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> logic = load_logic("peripheral_smear")
        >>> measured_by(logic, "platelets", frozenset({"platelet_count"}))
        ('platelet_count',)
        >>> measured_by(logic, "focus", frozenset({"platelet_count"})) is None
        True
    """
    described = logic.concepts[concept]
    names = [concept, *([described.measurement.name] if described.measurement else [])]
    own = tuple(name for name in names if name in spoken)
    if own or not described.derived:
        return own or None
    needs = sorted(frozenset().union(*(rule.when.concepts for rule in described.derived if rule.when)))
    parts = [measured_by(logic, need, spoken) for need in needs]
    return None if None in parts else tuple(name for part in parts for name in part or ())


class _Writer:
    """Turns one case into its Demonstrations."""

    def __init__(
        self,
        logic: Logic,
        script: ConsultationScript,
        expert: ExpertKnowledge,
        labels: Labels,
        questions: int,
        reports: bool,
        seed: int,
        bank: BankName,
    ) -> None:
        self.logic, self.script, self.expert, self.labels = logic, script, expert, labels
        self.questions, self.reports, self.seed, self.bank = questions, reports, seed, bank
        self.reference = ReferenceKnowledge(logic)

    def consult(
        self, build: DatasetBuild, folder: RecordFolder[Case], case: Case
    ) -> tuple[list[Demonstration], Counter[str]]:
        """All Demonstrations of one case, its images stored."""
        findings = self.expert.findings(case)
        if not findings or len(case.images) != 1:
            return [], Counter({"cases_of_several_images" if findings else "cases_without_findings": 1})
        counts: Counter[str] = Counter()
        records: list[Demonstration] = []
        known, labelled = self.expert(case), self._labels(case)
        spoken = frozenset(f.concept for f in findings if f.status != "not_assessed")
        image = load_image(folder.resolve(case.images[0]), record=case.id)
        for asked in self._asked(case):
            names = self._names(asked, spoken)
            answer, hedged = self._answer(case, asked, known, labelled, called=names is not None)
            if answer is None:
                counts["questions_without_label"] += 1
                continue
            prompt = (user(f"{self.script.introduction}\n{self._question(case, asked)}", images=1),)
            if names is None:
                counts["direct_answers"] += 1
                records.append(_record(case, asked, "direct", case.images, prompt, answer))
                continue
            call = self.script.call(names)
            counts.update({"calls": 1, "answers_after_call": 1, "hedged_after_call": int(hedged)})
            records.append(_record(case, asked, "call", case.images, prompt, call))
            text, overlay = self.script.feedback(image, findings, self._mask(findings), call)
            images = case.images if overlay is None else (*case.images, build.add_image(overlay))
            again = user(f"{text}\n{self._question(case, asked)}", images=len(images) - 1)
            records.append(_record(case, asked, "answer", images, (*prompt, assistant(call), again), answer))
        if records:
            build.adopt(case.images[0], folder.path)
        return records, counts

    def _asked(self, case: Case) -> list[str]:
        draw = random.Random(derive_seed(self.seed, case.id, "consultation"))
        questions = draw.sample(self.logic.order, min(self.questions, len(self.logic.order)))
        return questions + [REPORT] * self.reports

    def _names(self, asked: str, spoken: frozenset[str]) -> tuple[str, ...] | None:
        return tuple(sorted(spoken)) if asked == REPORT else measured_by(self.logic, asked, spoken)

    def _question(self, case: Case, asked: str) -> str:
        seed = derive_seed(self.seed, case.id, asked)
        if asked == REPORT:
            return report_prompt(self.logic, seed=seed, bank=self.bank)
        return question_text(self.logic, asked, seed=seed, bank=self.bank)

    def _labels(self, case: Case) -> dict[str, str]:
        if self.labels == "reference":
            return dict(self.reference(case).answers)
        text = case.reference.text if case.reference else None
        said = parse_text(self.logic, text).answers if text else {}
        return {concept: value for concept, value in said.items() if value not in RESERVED}

    def _answer(
        self, case: Case, asked: str, known: Known, labelled: Mapping[str, str], *, called: bool
    ) -> tuple[str | None, bool]:
        """The answer to imitate, and whether it hedges; None: nobody knows."""
        seed = derive_seed(self.seed, case.id, asked, "answer")
        if asked == REPORT:
            free = {c: v for c, v in labelled.items() if c not in known.uncertain}
            derived = self.logic.derived_concepts
            answers = {**{c: v for c, v in free.items() if c not in derived}, **known.answers}
            answers = derive(self.logic, answers)
            return (render_report(self.logic, answers, seed=seed, bank=self.bank) if answers else None), False
        value = known.answers.get(asked, self._open(asked, known)) if called else labelled.get(asked)
        if value is None:
            return None, False
        return render_answer(self.logic, asked, value, seed=seed, bank=self.bank), value in HEDGED

    def _open(self, asked: str, known: Known) -> str:
        """Why the expert leaves a concept open: it doubts, or what it measured means nothing on this image."""
        derived = asked in self.logic.derived_concepts
        return UNCERTAIN if derived or asked in known.uncertain else NOT_ASSESSED

    def _mask(self, findings: Sequence[Finding]) -> NDArray[np.uint8] | None:
        """The label image that the findings name, from the folder that holds them."""
        path = next((f.region.mask for f in findings if f.region is not None and f.region.mask), None)
        if path is None:
            return None
        for folder in self.expert.folders:
            file = folder.resolve(path)
            if file.is_file():
                return np.asarray(load_image(file, record=findings[0].id), dtype=np.uint8)
        return None


def _record(
    case: Case, asked: str, turn: str, images: tuple[ImageRef, ...], prompt: tuple[Message, ...], answer: str
) -> Demonstration:
    return Demonstration(
        id=f"{case.id}/{asked}/{turn}",
        case_id=case.id,
        group_id=case.group_id,
        split=case.split,
        images=images,
        prompt=prompt,
        response=(assistant(answer),),
        source=f"consultation_{turn}",
        provenance={"asked": asked},
    )
