"""No leakage: training and evaluation share no group and no near-duplicate image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vlmalign.records.errors import DataError
from vlmalign.records.folder import RecordFolder, load_image
from vlmalign.records.hashing import difference_hash
from vlmalign.records.manifest import KINDS, read_manifest
from vlmalign.records.near_pictures import NearPictures
from vlmalign.records.validation import image_refs


class Place(NamedTuple):
    """Where a group or an image was first seen."""

    folder: Path
    record: str
    image: Path | None = None

    def __str__(self) -> str:
        return f"{self.image or self.folder} (record {self.record!r})"


class Seen(NamedTuple):
    """Group ids of some folders' records, and their images by SHA-256."""

    groups: dict[str, Place]
    images: dict[str, Place]


def groups_and_images(folder: str | Path) -> tuple[set[str], dict[str, Path]]:
    """Group ids of a folder's records, and its images by SHA-256."""
    seen = _look([folder])
    return set(seen.groups), {digest: _file(place) for digest, place in seen.images.items()}


def check_no_leakage(
    train: Iterable[str | Path], evaluation: Iterable[str | Path], *, max_bits: int = 0, groups: bool = True
) -> None:
    """Refuse training folders that share a group or an image with evaluation folders.

    Args:
        train: dataset folders used for training, of any kind.
        evaluation: dataset folders that will be evaluated on.
        max_bits: images whose 64-bit difference hashes are at most this far apart count as the same;
            0 compares only equal files. Procedural or very uniform images need a small number.
        groups: whether shared groups are refused too. Only where a group is no patient (neighbouring
            photographs of one slide) may they be let pass, and then they must be reported.

    Raises:
        DataError: naming one shared group or image, with the first record of either side.
    """
    trained, tested = _look(train), _look(evaluation)
    shared = sorted(trained.groups.keys() & tested.groups.keys())
    if shared and groups:
        first = shared[0]
        raise DataError(
            f"{len(shared)} groups are in training and in evaluation, e.g. {first!r}: in {trained.groups[first]} "
            f"and in {tested.groups[first]}",
            "Split by group before anything is built from the cases.",
            field="group_id",
        )
    same = sorted(trained.images.keys() & tested.images.keys())
    if same:
        raise DataError(
            f"{len(same)} images are in training and in evaluation, e.g. {trained.images[same[0]]} and "
            f"{tested.images[same[0]]}",
            "Remove them from one side.",
            field="sha256",
        )
    if max_bits > 0:
        _check_near_duplicates(trained.images, tested.images, max_bits)


def _look(folders: Iterable[str | Path]) -> Seen:
    seen = Seen({}, {})
    for folder in folders:
        opened = RecordFolder(folder, KINDS[read_manifest(folder).kind])
        for record in opened:
            if group := getattr(record, "group_id", None):
                seen.groups.setdefault(group, Place(opened.path, record.id))
            for ref in image_refs(record):
                seen.images.setdefault(ref.sha256, Place(opened.path, record.id, opened.resolve(ref)))
    return seen


def _file(place: Place) -> Path:
    assert place.image is not None
    return place.image


def _check_near_duplicates(train: dict[str, Place], test: dict[str, Place], max_bits: int) -> None:
    near = NearPictures(max_bits)
    for digest, place in train.items():
        near.add(difference_hash(load_image(_file(place))), digest)
    for place in test.values():
        found = near.find(difference_hash(load_image(_file(place))))
        if found is not None:
            raise DataError(
                f"near-duplicate images in training and evaluation: {train[found]} and {place}",
                f"Remove one, or lower the limit of {max_bits} differing bits if they are not the same.",
                field="image",
            )
