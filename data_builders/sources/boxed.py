"""Pictures with boxes, in Pascal VOC or COCO form, with a mapping from classes to concepts.

A case is a picture. For each concept there is one finding: present with its boxes and their number, or absent, as
the annotators looked for every class in every picture; `exhaustive=False` says that they did not, and then there
is none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_builders.sources.case_writing import CaseDraft, Known, OnBad, Picture, write_cases
from data_builders.sources.clinical_names import check_counts, check_presences, logic_of
from data_builders.sources.coco import read_coco
from data_builders.sources.contained import contained, listing_hash
from data_builders.sources.options import check_shared
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank
from data_builders.sources.voc import read_voc
from vlmalign.records import DataError
from vlmalign.records.hashing import config_hash, sha256_file

VERSION = 1
Box = tuple[float, float, float, float]
NOTES = {
    "labels": "Boxes drawn by the annotators of the set; the value of a finding is their number.",
    "licence": "Not known to this reader: local_only until --set data_use says otherwise.",
}


@dataclass(frozen=True)
class Boxed:
    """One picture and its boxes by class; those of which the annotators were not sure (COCO's crowds) apart."""

    file: Path
    place: str
    boxes: tuple[tuple[str, Box], ...]
    unsure: tuple[str, ...] = ()
    bad_boxes: int = 0
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class BoxOptions:
    """What both forms need to know."""

    domain: str
    concepts: Mapping[str, str]
    modality: str
    exhaustive: bool
    group: re.Pattern[str] | None
    expert: str


def build_voc(
    data: str | Path,
    out: str | Path,
    *,
    domain: str,
    concepts: dict[str, str],
    modality: str = "unknown",
    group: str | None = None,
    exhaustive: bool = True,
    data_use: str = "local_only",
    key_file: Path | None = None,
    own_names: bool = False,
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """Pictures with Pascal-VOC boxes (JPEGImages/, Annotations/), classes mapped to concepts.

    Args:
        data: folder with `JPEGImages/` and `Annotations/`.
        out: the dataset folder.
        domain: of the cases: a shipped clinical logic, whose concepts are then checked.
        concepts: class -> concept, for every class that occurs: `--set concepts.WBC=leukocyte_count`.
        modality: of the pictures.
        group: a regular expression with a group `patient`, searched in the file name; None: each picture its own.
        exhaustive: whether a class without a box is absent.
        data_use: where the data may be sent.
        key_file: secret of the pseudonyms, outside of `out`; see `patient_key`.
        own_names: the domain, or some of the concepts, are of no shipped clinical logic; they are not checked.
        limit: only the first so many pictures.
        on_bad: "skip" leaves out bad boxes, and counts them.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: see `read_voc`; a name in which `group` finds nothing; a link out of the folder.
        ValueError: a setting out of range, a name that the domain's logic does not know.
    """
    check_shared(limit=limit, on_bad=on_bad, data_use=data_use)
    _check_names(domain, concepts, own_names)
    root = Path(data)
    for folder in ("JPEGImages", "Annotations"):
        for path in (root / folder).glob("*"):
            contained(root, path.relative_to(root).as_posix())
    photographs = read_voc(root, classes=concepts, on_bad=on_bad)[:limit]
    pictures = [
        Boxed(
            p.image,
            p.image.name,
            tuple((b.name, b.box) for b in p.boxes),
            bad_boxes=p.bad_boxes,
            size=(p.width, p.height),
        )
        for p in photographs
    ]
    options = _options(domain, concepts, modality, exhaustive, group, "voc_annotation@1")
    config = {"source": f"voc@{VERSION}", "files_sha256": config_hash([(p.stem, p.sha256) for p in photographs])}
    return _write(root, out, pictures, options, config, data_use, key_file, on_bad, overwrite)


def build_coco(
    data: str | Path,
    out: str | Path,
    *,
    annotations: str,
    domain: str,
    images: str = "images",
    concepts: dict[str, str] | None = None,
    modality: str = "unknown",
    group: str | None = None,
    exhaustive: bool = True,
    data_use: str = "local_only",
    key_file: Path | None = None,
    own_names: bool = False,
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """Pictures with COCO boxes (a json file and a folder), categories mapped to concepts.

    Args:
        data: the set's folder.
        out: the dataset folder.
        annotations: the json file, relative to `data`.
        domain: of the cases: a shipped clinical logic, whose concepts are then checked.
        images: the pictures' folder, relative to `data`.
        concepts: category -> concept; None names a concept as its category, in lower case with underscores.
        modality: of the pictures.
        group: a regular expression with a group `patient`, searched in the file name; None: each picture its own.
        exhaustive: whether a category without a box is absent.
        data_use: where the data may be sent.
        key_file: secret of the pseudonyms, outside of `out`; see `patient_key`.
        own_names: the domain, or some of the concepts, are of no shipped clinical logic; they are not checked.
        limit: only the first so many pictures.
        on_bad: "skip" leaves out bad boxes and pictures that cannot be read, and counts them.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: see `read_coco`; a name in which `group` finds nothing; a picture that cannot be read.
        ValueError: a setting out of range, a name that the domain's logic does not know.
    """
    check_shared(limit=limit, on_bad=on_bad, data_use=data_use)
    _check_names(domain, concepts or {}, own_names)
    root = Path(data)
    file = contained(root, annotations, field="annotations")
    folder = contained(root, images, field="images")
    content = read_coco(file, folder, on_bad=on_bad)
    mapping = concepts or {name: _slug(name) for name in content.categories}
    for name in content.categories:
        if name not in mapping:
            raise DataError(
                f"category {name!r} has no concept",
                f"Add --set concepts.{name}=CONCEPT.",
                file=file,
                field="categories",
            )
    if concepts is None:
        _check_names(domain, mapping, own_names)
    if not content.images:
        raise DataError("the file names no picture", "Pass the whole file.", file=file, field="images")
    pictures = [Boxed(i.file, i.name, i.boxes, i.crowds, i.bad_boxes, i.size) for i in content.images][:limit]
    options = _options(domain, mapping, modality, exhaustive, group, "coco_annotation@1")
    config = {
        "source": f"coco@{VERSION}",
        "annotations_sha256": sha256_file(file),
        "pictures_sha256": listing_hash(root, [picture.file for picture in pictures]),
    }
    return _write(root, out, pictures, options, config, data_use, key_file, on_bad, overwrite)


def _check_names(domain: str, concepts: Mapping[str, str], own_names: bool) -> None:
    """A finding of boxes is present or absent, and its value is their number."""
    logic = logic_of(domain, own_names)
    check_presences(logic, {f"concepts.{name}": concept for name, concept in concepts.items()}, own_names)
    check_counts(logic, concepts.values())


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _options(
    domain: str, concepts: Mapping[str, str], modality: str, exhaustive: bool, group: str | None, expert: str
) -> BoxOptions:
    return BoxOptions(domain, dict(concepts), modality, exhaustive, group_expression(group), expert)


def group_expression(group: str | None) -> re.Pattern[str] | None:
    """The expression that finds the patient in a name, compiled.

    Raises:
        ValueError: it is none, or has no group `patient`.
    """
    if group is None:
        return None
    try:
        compiled = re.compile(group)
    except re.error as error:
        raise ValueError(f"group is {group!r}, not a regular expression: {error}") from None
    if "patient" not in compiled.groupindex:
        raise ValueError(f"group is {group!r}: a group named patient is required, e.g. (?P<patient>p\\d+)_")
    return compiled


def _write(
    root: Path,
    out: str | Path,
    pictures: list[Boxed],
    options: BoxOptions,
    config: Mapping[str, Any],
    data_use: str,
    key_file: Path | None,
    on_bad: OnBad,
    overwrite: bool,
) -> Path:
    patients = [_patient(picture, options.group) for picture in pictures]
    key = patient_key(out, key_file, overwrite=overwrite)
    how = "By the file names" if options.group else "Not known: every picture is its own group"
    about = {"concepts": dict(options.concepts), "modality": options.modality, "exhaustive": options.exhaustive}
    return write_cases(
        out,
        _drafts(zip(pictures, patients, strict=True), options, key),
        domain=options.domain,
        config={
            **config,
            **about,
            "group": options.group.pattern if options.group else None,
            "pictures": len(pictures),
            "prompts": prompt_bank(options.domain),
            "key": key.fingerprint,
        },
        notes={**NOTES, "patients": f"{how}. {NOTE}"},
        data_use=data_use,
        on_bad=on_bad,
        overwrite=overwrite,
        key=key,
        root=root,
    )


def _patient(picture: Boxed, group: re.Pattern[str] | None) -> str | None:
    if group is None:
        return None
    match = group.search(picture.place)
    if match is None:
        raise DataError(
            f"the expression {group.pattern!r} finds no patient in the name", "Correct it.", file=picture.file
        )
    return match["patient"]


def _drafts(
    pictures: Iterable[tuple[Boxed, str | None]], options: BoxOptions, key: PatientKey
) -> Iterator[CaseDraft]:
    for picture, patient in pictures:
        place = key.pseudonym("picture", picture.place)
        yield CaseDraft(
            id=f"boxes-{place}",
            pictures=(Picture(picture.file, {"modality": options.modality}, clean=False, size=picture.size),),
            group_id=place if patient is None else key.pseudonym("patient", patient),
            group_kind="image" if patient is None else "patient",
            known=tuple(_known(picture, options)),
            counts=Counter({"bad_boxes": picture.bad_boxes}),
        )


def _known(picture: Boxed, options: BoxOptions) -> Iterator[Known]:
    for concept in dict.fromkeys(options.concepts.values()):
        boxes = tuple(box for name, box in picture.boxes if options.concepts[name] == concept)
        if any(options.concepts[name] == concept for name in picture.unsure):
            yield Known(concept, "uncertain", options.expert, float(len(boxes)), "1", boxes)
        elif boxes or options.exhaustive:
            yield Known(concept, "present" if boxes else "absent", options.expert, float(len(boxes)), "1", boxes)
