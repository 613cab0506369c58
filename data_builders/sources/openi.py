"""Open-i: the Indiana University chest X-rays with their reports, as cases; or the reports alone, as answers.

The headings that people chose (MeSH, major) become findings of the logic `chest_xray`. They list what is there, so
a concept without a heading is not assessed, but for `normal`, which says that nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_builders.sources.case_writing import (
    HINT,
    CaseDraft,
    Known,
    OnBad,
    Picture,
    Unread,
    Unreadable,
    write_cases,
)
from data_builders.sources.chest_labels import DOMAIN
from data_builders.sources.contained import files_below, listing_hash
from data_builders.sources.openi_reports import OpeniReport, archive_of, read_openi
from data_builders.sources.options import check_shared
from data_builders.sources.prompt import prompt_bank
from data_builders.sources.report_sections import of_earlier_study, sentences_of
from vlmalign.records import Candidate, DataError, DatasetBuild, Sampling, assistant
from vlmalign.records.hashing import pseudonym, sha256_file

VERSION = 1
EXPERT = "openi_mesh@1"
POLICY = "openi_radiologist@1"
KEY = b"vlmalign openi: published numbers of reports, no patient identifiers"  # published: nothing to protect
SUFFIXES = (".png", ".jpg", ".jpeg")
HEADINGS = {
    "Cardiomegaly": "cardiomegaly",
    "Opacity": "lung_opacity",
    "Airspace Disease": "lung_opacity",
    "Infiltrate": "lung_opacity",
    "Nodule": "lung_lesion",
    "Mass": "lung_lesion",
    "Pulmonary Edema": "edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Pulmonary Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Hydropneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural_effusion",
    "Fractures, Bone": "fracture",
    "Catheters, Indwelling": "support_devices",
    "Tube, Inserted": "support_devices",
    "Medical Device": "support_devices",
    "Implanted Medical Device": "support_devices",
}
NOTES = {
    "licence": "CC BY-NC-ND 4.0 (Indiana University, Open-i): keep the archive unchanged, no commercial use.",
    "patients": "The files name no patient: a group is one study. group_id is keyed with a published key, as "
    "report numbers are public. Whether two studies are of one patient is unknown.",
    "deidentification": "XXXX stands for words that de-identification took out, sometimes medical ones; kept, and "
    "counted (deidentified_words).",
    "comparisons": "extra.prior_sentences: sentences that speak of an earlier study, which no picture here shows.",
    "labels": "MeSH headings chosen by people. A concept without a heading was not assessed.",
}


def build_openi(
    data: str | Path,
    out: str | Path,
    *,
    images: Path | None = None,
    texts_only: bool = False,
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """Open-i / Indiana chest X-ray reports (NLMCXR_reports.tgz), with their pictures or as texts alone.

    Args:
        data: the archive, or the folder that holds it or its XML files; read as it is.
        out: the dataset folder.
        images: folder of the pictures (NLMCXR_png or similar), by the names in the reports.
        texts_only: without pictures there are no cases; this writes the reports as Candidate records of the policy
            `openi_radiologist@1`, for tools that read texts.
        limit: only the first so many reports.
        on_bad: "skip" leaves out reports that cannot be read, name no picture, or whose picture cannot be read.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: the archive or a file in it cannot be read.
        ValueError: neither or both of `images` and `texts_only`.
    """
    check_shared(limit=limit, on_bad=on_bad)
    if (images is None) == (not texts_only):
        raise ValueError(
            "a case needs a picture: give --set images=DIR for cases, or --set texts_only=true for the reports "
            "alone"
        )
    source = archive_of(Path(data))
    reports = list(_reports(source))[:limit]
    config = {
        "source": f"openi@{VERSION}",
        "reports_sha256": sha256_file(source) if source.is_file() else listing_hash(source, files_below(source)),
        "reports": len(reports),
    }
    if images is None:
        return _write_texts(out, reports, {**config, "texts_only": True}, on_bad, overwrite)
    root = Path(images)
    files = {path.stem: path for path in files_below(root, SUFFIXES)}
    config |= {"pictures_sha256": listing_hash(root, files.values()), "prompts": prompt_bank(DOMAIN)}
    return write_cases(
        out,
        (_draft(report, files, root) for report in reports),
        domain=DOMAIN,
        config=config,
        notes=NOTES,
        data_use="open",
        on_bad=on_bad,
        overwrite=overwrite,
        root=source.parent if source.is_file() else source,
    )


def _reports(source: Path) -> Iterator[OpeniReport | Unread]:
    """Reports and, in their place, what could not be read; ids of the latter are the names of their files."""
    bad: list[DataError] = []
    for report in read_openi(source, bad.append):
        yield from (Unread(_name(error), error) for error in bad)
        bad.clear()
        yield report
    yield from (Unread(_name(error), error) for error in bad)


def _name(error: DataError) -> str:
    return f"openi-{Path(error.file or '').stem}"


def openi_findings(mesh: tuple[str, ...]) -> tuple[Known, ...]:
    """Findings of the logic, from the headings that people chose.

    Example:
        >>> found = openi_findings(("Cardiomegaly/mild", "Spine/degenerative"))
        >>> [(known.concept, known.status) for known in found]
        [('cardiomegaly', 'present'), ('no_finding', 'absent')]
    """
    if mesh == ("normal",):
        return (Known("no_finding", "present", EXPERT),)
    concepts = {HEADINGS[head] for heading in mesh if (head := heading.split("/")[0].strip()) in HEADINGS}
    found = [Known(concept, "present", EXPERT) for concept in sorted(concepts)]
    disease = concepts - {"support_devices"}
    return (*found, *((Known("no_finding", "absent", EXPERT),) if disease else ()))


def _draft(report: OpeniReport | Unread, files: dict[str, Path], root: Path) -> CaseDraft | Unread:
    if isinstance(report, Unread):
        return report
    case_id = f"openi-{report.uid}"
    if not report.pictures:
        error = Unreadable.because("no_picture", "the report names no picture", "Nothing.", file=report.uid)
        return Unread(case_id, error)
    return CaseDraft(
        id=case_id,
        pictures=tuple(
            Picture(files.get(name, root / f"{name}.png"), {"modality": "xray"}) for name in report.pictures
        ),
        group_id=pseudonym(report.uid, KEY),
        group_kind="study",
        known=openi_findings(report.mesh),
        text=report.text or None,
        extra=_extra(report),
        counts=_counts(report),
    )


def _prior_sentences(report: OpeniReport) -> list[str]:
    both = (report.findings, report.impression)
    return [sentence for text in both for sentence in sentences_of(text) if of_earlier_study(sentence)]


def _extra(report: OpeniReport) -> dict[str, Any]:
    return {
        "indication": report.indication,
        "comparison": report.comparison,
        "mesh": list(report.mesh),
        "prior_sentences": _prior_sentences(report),
    }


def _counts(report: OpeniReport) -> dict[str, int]:
    return {
        "without_text": int(not report.text),
        "deidentified_words": report.deidentified_words,
        "prior_sentences": len(_prior_sentences(report)),
    }


def _write_texts(
    out: str | Path, reports: list[OpeniReport | Unread], config: dict[str, object], on_bad: OnBad, overwrite: bool
) -> Path:
    bad = [report.error for report in reports if isinstance(report, Unread)]
    if bad and on_bad == "refuse":
        raise DataError(bad[0].rule, f"{bad[0].remedy} {HINT}", file=bad[0].file, line=bad[0].line)
    with DatasetBuild(out, "candidate", config, overwrite=overwrite, notes=NOTES, data_use="open") as build:
        for report in reports:
            if isinstance(report, Unread):
                if not build.has(report.id):
                    told = {"file": report.error.file or "", "kind": Unreadable.kind, "reason": report.error.rule}
                    build.commit(report.id, [], {"skipped": 1}, skipped=[told])
            elif not build.has(report.uid):
                records = [_answer(report)] if report.text else []
                build.commit(report.uid, records, _counts(report), skipped=[] if records else [_no_text(report)])
    return build.path


def _no_text(report: OpeniReport) -> dict[str, str]:
    return {
        "case": f"openi-{report.uid}",
        "kind": "no_text",
        "reason": "neither findings nor impression have a text",
    }


def _answer(report: OpeniReport) -> Candidate:
    return Candidate(
        id=f"openi-{report.uid}/report",
        case_id=f"openi-{report.uid}",
        messages=(assistant(report.text),),
        policy=POLICY,
        sampling=Sampling(max_new_tokens=len(report.text.split())),
        seed=0,
        extra=_extra(report),
    )
