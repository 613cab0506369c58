"""What is known of a case: from its reference, or from an expert's findings and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from data_builders.candidate_pairs import Known
from vlmalign.clinical import Logic, answers_from_findings
from vlmalign.clinical.measurements import check_min_probability
from vlmalign.clinical.paths import forced_values
from vlmalign.records import Case, DataError, Finding, RecordFolder
from vlmalign.records.preference import Source

FindingFolders = str | Path | Sequence[str | Path]


def known_from_findings(logic: Logic, findings: Sequence[Finding], *, min_probability: float = 0.8) -> Known:
    """Certain answers of some findings, with the derived concepts that they determine."""
    found = answers_from_findings(logic, findings, min_probability=min_probability)
    return Known(
        answers=found.answers,
        experts=tuple(sorted({finding.expert for finding in findings})),
        uncertain=tuple(sorted(found.uncertain)),
        probabilities=found.probabilities,
        not_assessed=found.not_assessed,
    )


def knowledge_of(
    logic: Logic, answers: FindingFolders | Literal["reference"], *, min_probability: float
) -> ReferenceKnowledge | ExpertKnowledge:
    """Knowledge from the cases' references, or from Finding folders."""
    if isinstance(answers, str) and answers == "reference":
        return ReferenceKnowledge(logic)
    return ExpertKnowledge(logic, answers, min_probability=min_probability)


class ReferenceKnowledge:
    """Answers of `case.reference.findings`; a case without them is unknown, not negative.

    Args:
        logic: the domain's clinical logic.
        implied: add concepts that have only one value left beside the findings (no leukocyte: its kind is
            not applicable).
    """

    identity = "reference"
    source: Source = "symbolic"

    def __init__(self, logic: Logic, *, implied: bool = True) -> None:
        self.logic = logic
        self.implied = implied

    def __call__(self, case: Case) -> Known:
        """What the reference says of one case."""
        if case.reference is None or not case.reference.findings:
            return Known({})
        known = known_from_findings(self.logic, case.reference.findings)
        implied = forced_values(self.logic, known.answers) if self.implied else {}
        return replace(known, answers={**known.answers, **implied})


class ExpertKnowledge:
    """Answers of an expert's findings. Never reads `case.reference`.

    Derived concepts are added, but not, as by `ReferenceKnowledge`, the values that are the only ones left beside
    the findings: a reference is true, and so is what follows from it; an expert may err, and a claim is charged to
    it, and decides a pair, only if the expert assessed it or the logic computes it.

    Findings belong to a case by their `case_id` or, where they have none, by the image's hash.

    Args:
        logic: the domain's clinical logic.
        folders: one Finding folder, or several: a case takes all of its findings from the first folder
            that has any, so that known masks go before a model's opinion.
        min_probability: how sure a finding must be to count.

    Raises:
        DataError: a folder is missing, incomplete or of another kind.
        ValueError: min_probability is not in (0.5, 1].
    """

    source: Source = "expert"

    def __init__(self, logic: Logic, folders: FindingFolders, *, min_probability: float = 0.8) -> None:
        self.logic = logic
        check_min_probability(min_probability)
        self.min_probability = min_probability
        listed = [folders] if isinstance(folders, (str, Path)) else list(folders)
        if not listed:
            raise DataError("no Finding folder was given", "Pass at least one.", field="findings")
        self.folders = [RecordFolder(folder, Finding) for folder in listed]
        self._by_case: list[dict[str, list[Finding]]] = []
        self._by_image: list[dict[str, list[Finding]]] = []
        for folder in self.folders:
            by_case: dict[str, list[Finding]] = {}
            by_image: dict[str, list[Finding]] = {}
            for finding in folder:
                if finding.case_id is not None:
                    by_case.setdefault(finding.case_id, []).append(finding)
                else:
                    by_image.setdefault(finding.image.sha256, []).append(finding)
            self._by_case.append(by_case)
            self._by_image.append(by_image)

    @property
    def identity(self) -> list[str]:
        """Hashes of the folders' records, for the config."""
        return [folder.sha256 for folder in self.folders]

    def findings(self, case: Case) -> list[Finding]:
        """The findings that decide one case; empty when no folder has any."""
        for by_case, by_image in zip(self._by_case, self._by_image, strict=True):
            own = list(by_case.get(case.id, ()))
            own += [f for image in case.images for f in by_image.get(image.sha256, ())]
            if own:
                return own
        return []

    def __call__(self, case: Case) -> Known:
        """What the expert says of one case."""
        findings = self.findings(case)
        if not findings:
            return Known({})
        return known_from_findings(self.logic, findings, min_probability=self.min_probability)
