"""MedMNIST (Yang et al. 2023): npz files of small pictures with labels, recognised by their names.

A file `pneumoniamnist.npz` (or `pneumoniamnist_64.npz` ...) holds `train_images`, `train_labels` and so on.
Volumes (`*mnist3d`) become cases of a few slices. The files name no patients.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_builders.sources.case_writing import CaseDraft, Known, OnBad, Picture, write_cases
from data_builders.sources.clinical_names import check_domain
from data_builders.sources.medmnist_flags import CHEST_CONCEPTS, FLAGS, MULTI_LABEL, Flag
from data_builders.sources.npz_rows import NpzFile
from data_builders.sources.options import check_shared
from data_builders.sources.prompt import prompt_bank
from vlmalign.records import Attributes, DataError
from vlmalign.records.case import Split
from vlmalign.records.hashing import pseudonym, sha256_file

VERSION = 1
EXPERT = "medmnist@1"
CONCEPT = "class"
KEY = b"vlmalign medmnist: numbers of rows, no patient identifiers"  # published: nothing to protect
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
NAME = re.compile(r"(?P<flag>[a-z]+mnist(?:3d)?)(?:_(?P<size>\d+))?\.npz")
NOTES = {
    "licence": "CC BY 4.0 (MedMNIST v2), but for dermamnist: CC BY-NC 4.0.",
    "patients": "The files name no patients: every picture is its own group. The official splits are by patient "
    "only where MedMNIST's authors had the patients; do not divide the training part by group and trust it.",
    "size": "Thumbnails (28 to 224 pixels), not what a clinician reads from.",
}


def build_medmnist(
    data: str | Path,
    out: str | Path,
    *,
    split: str = "official",
    slices: int = 3,
    domain: str | None = None,
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """MedMNIST: an npz file of one of the 18 official sets, by its name.

    Args:
        data: the npz file, e.g. `pneumoniamnist.npz` or `octmnist_224.npz`.
        out: the dataset folder.
        split: "official" (train, val, test of the file) or "none".
        slices: of a volume (sets in 3D), so many are shown, evenly spaced.
        domain: of the cases; None takes the set's own.
        limit: only the first so many of each part.
        on_bad: nothing can be skipped in an npz file; kept for uniformity.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: an unknown name, not an npz file, arrays that do not fit each other, a label out of range.
        ValueError: a setting out of range.
    """
    check_shared(split=split, limit=limit, on_bad=on_bad)
    check_domain(domain or "")
    if slices < 1:
        raise ValueError(f"slices is {slices}: at least 1 is required")
    path = Path(data)
    named = NAME.fullmatch(path.name)
    if named is None or named["flag"] not in FLAGS:
        raise DataError(
            f"the name {path.name!r} is not one of MedMNIST's files",
            f"Keep the official name: one of {', '.join(FLAGS)}, then .npz or _<size>.npz.",
            file=path,
        )
    flag = FLAGS[named["flag"]]
    arrays = NpzFile(path)
    _check(arrays, flag)
    chosen = domain or flag.domain
    config = {
        "source": f"medmnist@{VERSION}",
        "file": path.name,
        "file_sha256": sha256_file(path),
        "split": split,
        "slices": slices,
        "limit": limit,
        "domain": chosen,
        "prompts": prompt_bank(chosen),
    }
    return write_cases(
        out,
        _drafts(arrays, named["flag"], flag, split, slices, limit),
        domain=chosen,
        config=config,
        notes=NOTES,
        data_use="open",
        on_bad=on_bad,
        overwrite=overwrite,
        root=path.parent,
        total=_total(arrays, limit),
    )


def _check(arrays: NpzFile, flag: Flag) -> None:
    """Shapes: images (N, H, W), (N, H, W, 3) or (N, D, H, W); labels (N, L)."""
    width = len(flag.labels) if flag.task == MULTI_LABEL else 1
    for part in SPLITS:
        images, labels = (arrays.shapes.get(f"{part}_{kind}") for kind in ("images", "labels"))
        if images is None or labels is None:
            raise DataError(
                f"the arrays {part}_images and {part}_labels are not both there",
                "Fetch it again.",
                file=arrays.path,
            )
        if len(images) not in (3, 4) or labels != (images[0], width):
            raise DataError(
                f"{part}_images has shape {images} and {part}_labels {labels}: (N, ...) and (N, {width}) are "
                "required",
                "Fetch the official file again.",
                file=arrays.path,
            )


def _total(arrays: NpzFile, limit: int | None) -> int:
    rows = [arrays.shapes[f"{part}_images"][0] for part in SPLITS]
    return sum(rows if limit is None else (min(n, limit) for n in rows))


def _drafts(
    arrays: NpzFile, name: str, flag: Flag, split: str, slices: int, limit: int | None
) -> Iterator[CaseDraft]:
    for part, of in SPLITS.items():
        rows = zip(arrays.rows(f"{part}_images"), arrays.rows(f"{part}_labels"), strict=True)
        for number, (image, label) in enumerate(rows):
            if number == limit:
                break
            case_id = f"{name}-{part}-{number}"
            pictures = tuple(
                Picture(arrays.path, {"modality": flag.modality, **fields}, partial(Image.fromarray, pixels))
                for pixels, fields in _pictures(image, slices, volume=name.endswith("3d"))
            )
            yield CaseDraft(
                id=case_id,
                pictures=pictures,
                group_id=pseudonym(case_id, KEY),
                group_kind="image",
                known=_known(name, flag, [int(value) for value in label], arrays.path, f"{part}_labels[{number}]"),
                split=of if split == "official" else "unassigned",
                attributes=Attributes(age_band="child" if flag.child else None),
            )


def _pictures(
    image: NDArray[np.generic], slices: int, *, volume: bool
) -> Iterator[tuple[NDArray[np.uint8], dict[str, int]]]:
    """The pictures of a row, each with the slice that it is; volumes are cut along their first axis."""
    pixels = np.ascontiguousarray(image, dtype=np.uint8)
    if not volume:
        yield pixels, {}
        return
    depth = pixels.shape[0]
    for k in range(min(slices, depth)):
        frame = (2 * k + 1) * depth // (2 * min(slices, depth))
        yield pixels[frame], {"frame": frame}


def _known(name: str, flag: Flag, label: list[int], file: Path, place: str) -> tuple[Known, ...]:
    most = 1 if flag.task == MULTI_LABEL else len(flag.labels) - 1
    if not all(0 <= value <= most for value in label):
        raise DataError(f"the label {label} is not within 0 to {most}", "Fetch it again.", file=file, field=place)
    if name == "chestmnist":
        return _chest(dict(zip(flag.labels, label, strict=True)))
    if flag.task == MULTI_LABEL:
        return tuple(
            Known(concept, "present" if value else "absent", EXPERT)
            for concept, value in zip(flag.labels, label, strict=True)
        )
    if name == "pneumoniamnist":
        states = ("absent", "present") if label[0] else ("present", "absent")
        return (Known("no_finding", states[0], EXPERT), Known("pneumonia", states[1], EXPERT))  # type: ignore[arg-type]
    return (Known(CONCEPT, "present", EXPERT, flag.labels[label[0]]),)


def _chest(labels: dict[str, int]) -> tuple[Known, ...]:
    """As NIH ChestX-ray14, of which ChestMNIST is made: absence counts where the label is the whole concept."""
    present = {CHEST_CONCEPTS[name][0] for name, value in labels.items() if value and name in CHEST_CONCEPTS}
    absent = {concept for concept, exactly in CHEST_CONCEPTS.values() if exactly} - present
    found = [Known(concept, "present", EXPERT) for concept in sorted(present)]
    found += [Known(concept, "absent", EXPERT) for concept in sorted(absent)]
    return (*found, Known("no_finding", "absent" if any(labels.values()) else "present", EXPERT))
