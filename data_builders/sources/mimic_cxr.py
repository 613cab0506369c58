"""MIMIC-CXR-JPG (Johnson et al. 2019): studies with all their views, the radiologist's report and labels from it.

Layout: `mimic-cxr-2.0.0-split.csv`, `-metadata.csv` and `-chexpert.csv` or `-negbio.csv` (plain or gzipped),
    pictures
at `files/p10/p10000032/s50414267/<dicom id>.jpg` and reports at `files/p10/p10000032/s50414267.txt` (of MIMIC-CXR,
there or below another folder). Many sentences of these reports compare with an earlier study: either that study is
shown (`priors="previous"`), or the sentences are marked or dropped (`comparisons`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_builders.sources.case_writing import (
    CaseDraft,
    Known,
    OnBad,
    Picture,
    Unread,
    Unreadable,
    refuse_divided_groups,
    write_cases,
)
from data_builders.sources.chest_labels import DOMAIN, chexpert_findings, technique
from data_builders.sources.mimic_tables import Study, read_labels, read_studies
from data_builders.sources.options import check_shared, one_of
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank, request_with_earlier
from data_builders.sources.report_sections import (
    of_earlier_study,
    report_sections,
    sentences_of,
    without_comparisons,
)
from vlmalign.records import Attributes, DataError
from vlmalign.records.case import Split
from vlmalign.records.hashing import config_hash, sha256_file

VERSION = 1
SPLITS: dict[str, Split] = {"train": "train", "validate": "validation", "test": "test"}
TOKEN = "___"  # what the de-identification put in place of names and dates
EARLIER = "The images above show the previous study of this patient. The images below show the present study."
NOTES = {
    "licence": "PhysioNet Credentialed Health Data Use Agreement: no sharing with third parties; online services "
    "only where PhysioNet approves of them (data_use, https://physionet.org/news/post/gpt-responsible-use).",
    "patients": f"By subject_id. Study and picture ids are pseudonyms too. {NOTE}",
    "labels": "Read from the report by a labeller; of the study, standing at its first picture. Blank: "
    "not_assessed.",
    "comparisons": "extra.prior_sentences holds the sentences of the reference that speak of an earlier study, "
    "found by their words; extra.prior_images says how many pictures of the previous study come first.",
}


@dataclass(frozen=True)
class Choices:
    """What the user wants of a study."""

    sections: tuple[str, ...]
    comparisons: str
    priors: str
    split: str
    labels: str


def build_mimic_cxr(
    data: str | Path,
    out: str | Path,
    *,
    reports: Path | None = None,
    sections: str = "findings,impression",
    comparisons: str = "mark",
    priors: str = "none",
    labels: str = "chexpert",
    data_use: str = "approved_endpoints",
    key_file: Path | None = None,
    split: str = "official",
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """MIMIC-CXR-JPG: studies with all views, reports and labels (official tables, files/pXX/pX/sX).

    Args:
        data: the folder with the tables and `files/`.
        out: the dataset folder.
        reports: the folder whose `files/` holds the reports; None: `data` itself.
        sections: which sections make the reference text, with commas.
        comparisons: "mark" keeps sentences about an earlier study and lists them in `extra.prior_sentences`;
            "drop" takes them out of the reference (and lists them); "keep" only counts them.
        priors: "previous" shows the frontal picture of the patient's study before, where there is one; "none" does
            not.
        labels: "chexpert", "negbio" or "none".
        data_use: "approved_endpoints", or "local_only" to be stricter.
        key_file: secret of the pseudonyms, outside of `out`; see `patient_key`.
        split: "official" or "none".
        limit: only the first so many studies.
        on_bad: "skip" leaves out studies of which a picture or the report cannot be read.
        overwrite: replace a folder built with other settings.

    Raises:
        DataError: a table breaks a rule; a picture or report cannot be read.
        ValueError: a setting out of range.
    """
    check_shared(split=split, limit=limit, on_bad=on_bad)
    one_of("data_use", data_use, ("approved_endpoints", "local_only"))
    choices = _choices(sections, comparisons, priors, split, labels)
    root = Path(data)
    studies, tables = read_studies(root, SPLITS)
    rows, labels_table = read_labels(root, labels)
    if split == "official":
        refuse_divided_groups(((study.subject, study.split) for study in studies), tables[0])
    shown = studies[:limit]
    config = {
        "source": f"mimic_cxr@{VERSION}",
        "tables_sha256": {path.name: sha256_file(path) for path in [*tables, *labels_table]},
        "studies_sha256": config_hash([(study.subject, study.name, study.pictures) for study in shown]),
        "sections": choices.sections,
        "comparisons": comparisons,
        "priors": priors,
        "labels": labels,
        "split": split,
        "prompts": prompt_bank(DOMAIN),
    }
    key = patient_key(out, key_file, overwrite=overwrite)
    places = (root, Path(reports) if reports is not None else root)
    return write_cases(
        out,
        _drafts(
            shown,
            places,
            {name: chexpert_findings(row, f"{labels}@1") for name, row in rows.items()},
            choices,
            key,
        ),
        domain=DOMAIN,
        config={**config, "key": key.fingerprint},
        notes=NOTES,
        data_use=data_use,
        on_bad=on_bad,
        overwrite=overwrite,
        key=key,
        root=root,
    )


def _choices(sections: str, comparisons: str, priors: str, split: str, labels: str) -> Choices:
    one_of("comparisons", comparisons, ("mark", "drop", "keep"))
    one_of("priors", priors, ("none", "previous"))
    one_of("labels", labels, ("chexpert", "negbio", "none"))
    return Choices(tuple(s.strip().lower() for s in sections.split(",")), comparisons, priors, split, labels)


def _drafts(
    studies: list[Study],
    places: tuple[Path, Path],
    labels: dict[str, tuple[Known, ...]],
    choices: Choices,
    key: PatientKey,
) -> Iterator[CaseDraft | Unread]:
    for study in studies:
        case_id = f"mimic-{key.pseudonym('study', study.name)}"
        try:
            report = _report(places[1], study)
        except DataError as error:
            yield Unread(case_id, error)
        else:
            yield _draft(case_id, study, places[0], report, labels.get(study.name, ()), choices, key)


def _report(root: Path, study: Study) -> str:
    path = root / f"{study.folder}.txt"
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({type(error).__name__})"
        raise Unreadable.because(
            "report",
            f"the report {why}",
            "Unpack mimic-cxr-reports.zip and pass it: --set reports=DIR.",
            file=path,
        ) from None


def _draft(
    case_id: str,
    study: Study,
    root: Path,
    report: str,
    labels: tuple[Known, ...],
    choices: Choices,
    key: PatientKey,
) -> CaseDraft:
    earlier = study.previous if choices.priors == "previous" else None
    first = [earlier.picture_file(root, 0)] if earlier else []
    files = [*first, *(study.picture_file(root, k) for k in range(len(study.pictures)))]
    text, prior_sentences = _reference(report, choices)
    known = (*labels, *technique(None, study.views[0]))
    extra = {"views": [*(earlier.views[:1] if earlier else ()), *study.views], "prior_images": len(first)}
    if choices.comparisons != "keep":
        extra["prior_sentences"] = prior_sentences  # type: ignore[assignment]
    now = (len(first), len(study.pictures))
    return CaseDraft(
        id=case_id,
        pictures=tuple(Picture(file, {"modality": "xray"}) for file in files),
        group_id=key.pseudonym("patient", study.subject),
        group_kind="patient",
        known=tuple(Known(k.concept, k.status, k.expert, k.value, picture=len(first)) for k in known),
        text=text or None,
        split=SPLITS[study.split] if choices.split == "official" else "unassigned",
        attributes=Attributes(),
        messages=request_with_earlier(DOMAIN, case_id, now, EARLIER) if first else None,
        extra=extra,
        counts={
            "without_section": int(not text),
            "prior_sentences": len(prior_sentences),
            "with_earlier_study": len(first),
            "deidentified_words": text.count(TOKEN),
        },
    )


def _reference(report: str, choices: Choices) -> tuple[str, list[str]]:
    """The reference text, and its sentences about an earlier study (still in it unless they are dropped)."""
    found = report_sections(report)
    parts, prior = [], []
    for name in choices.sections:
        body = found.get(name, "")
        mine = [sentence for sentence in sentences_of(body) if of_earlier_study(sentence)]
        if choices.comparisons == "drop":
            body, mine = without_comparisons(body)
        prior += mine
        if body:
            parts.append(f"{name.upper()}: {body}")
    return "\n".join(parts), prior
