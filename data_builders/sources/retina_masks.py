"""Fundus photographs with masks (vessels, optic disc and cup, field of view), by rules of file names.

Presets: CHASE_DB1, DRIVE and REFUGE; `mask_layouts` says how to write another. A mask becomes a finding with a
    region;
two observers give two findings of one concept. A vessel finding's value is the share of the field of view (of the
picture, where there is no such mask); disc and cup together give the vertical cup-to-disc ratio, the height of the
cup's extent over that of the disc.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_builders.sources.case_writing import CaseDraft, Known, OnBad, Picture, Unread, write_cases
from data_builders.sources.contained import contained, files_below, listing_hash
from data_builders.sources.mask_layouts import CUP, DISC, EYES, FOV, PRESETS, VESSELS, MaskLayout, MaskRule
from data_builders.sources.options import check_shared, one_of
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank
from vlmalign.records import DataError, load_image
from vlmalign.records.case import Split

VERSION = 1
RATIO = "vertical_cup_disc_ratio"
KINDS = {"g": "Glaucoma", "n": "Non-Glaucoma"}  # folders of REFUGE's training part
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".ppm", ".gif")


@dataclass(frozen=True)
class Photograph:
    """One photograph, what its name says, and its masks in the order of the rules."""

    file: Path
    place: str
    named: Mapping[str, str]
    masks: tuple[tuple[MaskRule, Path], ...]


def build_retina_masks(
    data: str | Path,
    out: str | Path,
    *,
    layout: str,
    pictures: str | None = None,
    masks: dict[str, str] | None = None,
    data_use: str | None = None,
    key_file: Path | None = None,
    split: str = "none",
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """Fundus photographs with vessel, disc, cup and field-of-view masks (CHASE_DB1, DRIVE, REFUGE and the like).

    Args:
        data: the set's folder.
        out: the dataset folder.
        layout: a preset: chase_db1, drive, refuge.
        pictures: replaces the preset's expression for the photographs' paths; its groups `patient`, `eye` and
            others fill the masks' templates.
        masks: replaces the preset's masks: concept -> template such as `vessels/{name}_v.png`; every value above 0
            is the structure.
        data_use: where the data may be sent; None takes the preset's.
        key_file: secret of the patients' pseudonyms, outside of `out`; see `patient_key`.
        split: "official" where the names tell it (DRIVE), or "none".
        limit: only the first so many photographs.
        on_bad: "skip" leaves out photographs with a mask that is missing, of another size or undecodable.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: no photograph is found, a mask is missing, a file cannot be read.
        ValueError: a setting out of range, an expression or template that is none.
    """
    one_of("layout", layout, PRESETS)
    rules = PRESETS[layout]
    check_shared(split=split, limit=limit, on_bad=on_bad, data_use=data_use or rules.data_use)
    if pictures is not None:
        rules = replace(rules, pictures=pictures)
    if masks is not None:
        rules = replace(rules, masks=tuple(MaskRule(name, "observer1", (path,)) for name, path in masks.items()))
    if split == "official" and not rules.splits:
        raise ValueError(f"split is 'official', but the names of {layout} tell no split: use split=none")
    root = Path(data)
    photographs = _photographs(root, rules)[:limit]
    files = [file for photo in photographs for file in (photo.file, *(mask for _, mask in photo.masks))]
    config = {
        "source": f"retina_masks@{VERSION}",
        "layout": layout,
        "rules": repr(rules),
        "files_sha256": listing_hash(root, files),
        "photographs": len(photographs),
        "split": split,
        "prompts": prompt_bank(rules.domain),
    }
    key = patient_key(out, key_file, overwrite=overwrite)
    return write_cases(
        out,
        _drafts(photographs, rules, split, key),
        domain=rules.domain,
        config={**config, "key": key.fingerprint},
        notes={"licence": rules.licence, "patients": f"{rules.patients} {NOTE}", "masks": "Drawn by people."},
        data_use=data_use or rules.data_use,
        on_bad=on_bad,
        overwrite=overwrite,
        key=key if pictures is not None else None,  # the presets' names hold numbers alone
        root=root,
    )


def _photographs(root: Path, rules: MaskLayout) -> list[Photograph]:
    expression = rules.expression()
    found = []
    for file in files_below(root, SUFFIXES):
        place = file.relative_to(root).as_posix()
        if match := expression.fullmatch(place):
            named = {name: value or "" for name, value in match.groupdict().items()}
            masks = tuple((rule, mask) for rule in rules.masks if (mask := _mask_file(root, place, named, rule)))
            found.append(Photograph(file, place, named, masks))
    if not found:
        raise DataError(
            f"no file matches {rules.pictures!r}", "Check --data, or give --set pictures=EXPRESSION.", file=root
        )
    return found


def _mask_file(root: Path, place: str, named: Mapping[str, str], rule: MaskRule) -> Path | None:
    """The first place of the rule where a file is; its first place, where it must be and is not."""
    folder, _, file = place.rpartition("/")
    above = folder.rpartition("/")[0]
    fields = {
        **named,
        "name": Path(file).stem,
        "folder": f"{folder}/" if folder else "",
        "above": f"{above}/" if above else "",
        "beside": f"{above}/" if above else "",
        "kind": KINDS.get(named.get("label", ""), ""),
    }
    places = []
    for template in rule.templates:
        try:
            places.append(contained(root, template.format(**fields), field="masks"))
        except (KeyError, IndexError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise ValueError(
                f"the template {template!r} of mask {rule.concept!r} cannot be filled: {error}"
            ) from None
    there = next((path for path in places if path.exists()), None)
    return there or (places[0] if rule.required else None)


def _drafts(
    photographs: list[Photograph], rules: MaskLayout, split: str, key: PatientKey
) -> Iterator[CaseDraft | Unread]:
    for photo in photographs:
        case_id = f"retina-{key.pseudonym('photograph', photo.place)}"
        eye = EYES.get(photo.named.get("eye", "").upper())
        try:
            known = (*_masks(photo), *((Known("eye", "present", "file_name@1", eye),) if eye else ()))
        except DataError as error:
            yield Unread(case_id, error)
            continue
        patient = photo.named.get("patient", "")
        label = photo.named.get("label", "")
        extra = {"label": rules.labels[label]} if label in rules.labels else {}
        of: Split = rules.splits.get(photo.named.get("part", ""), "unassigned")  # type: ignore[assignment]
        yield CaseDraft(
            id=case_id,
            pictures=(Picture(photo.file, {"modality": rules.modality, "laterality": eye}),),
            group_id=key.pseudonym("patient", patient) if patient else key.pseudonym("photograph", photo.place),
            group_kind="patient" if patient else rules.group_kind,
            known=known,
            split=of if split == "official" else "unassigned",
            extra=extra,
        )


def structure_of(file: Path, rule: MaskRule) -> NDArray[np.bool_]:
    """Where the structure is, (H, W)."""
    grey = np.asarray(load_image(file).convert("L"))
    return grey > 0 if rule.below is None else grey <= rule.below


def vertical_ratio(cup: NDArray[np.bool_], disc: NDArray[np.bool_]) -> float | None:
    """Rows that the cup spans over rows that the disc spans; None without a disc.

    Example:
        >>> disc, cup = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
        >>> disc[1:9, 1:9] = cup[3:7, 3:5] = True
        >>> vertical_ratio(cup, disc)
        0.5
    """
    heights = []
    for mask in (cup, disc):
        rows = np.flatnonzero(mask.any(axis=1))
        heights.append(int(rows[-1] - rows[0] + 1) if rows.size else 0)
    return heights[0] / heights[1] if heights[1] else None


def _masks(photo: Photograph) -> Iterator[Known]:
    seen = {(rule.concept, rule.observer): structure_of(file, rule) for rule, file in photo.masks}
    field = next((mask for (concept, _), mask in seen.items() if concept == FOV), None)
    for rule, file in photo.masks:
        mask = seen[rule.concept, rule.observer]
        share = None
        if rule.concept == VESSELS:
            where = field if field is not None and field.shape == mask.shape else np.ones_like(mask)
            share = round(float(mask[where].mean()), 6) if where.any() else None
        yield Known(
            rule.concept,
            "present" if mask.any() else "absent",
            f"{rule.observer}@1",
            share,
            None if share is None else "1",
            mask=Picture(file, read=partial(Image.fromarray, mask.astype(np.uint8))),
        )
    for observer in sorted({observer for concept, observer in seen if concept == DISC}):
        if (CUP, observer) in seen:
            ratio = vertical_ratio(seen[CUP, observer], seen[DISC, observer])
            if ratio is not None:
                yield Known(RATIO, "present", f"{observer}@1", round(ratio, 4), "1")
