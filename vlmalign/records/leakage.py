"""No leakage: training and evaluation share no group and no near-duplicate image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vlmalign.records.base import Record
from vlmalign.records.errors import DataError
from vlmalign.records.folder import RecordFolder, load_image
from vlmalign.records.hashing import difference_hash
from vlmalign.records.id_set import IdSet
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
    train, evaluation = list(train), list(evaluation)
    trained_groups, trained_images = IdSet(), IdSet()
    for _, record in _records(train):
        if group := getattr(record, "group_id", None):
            trained_groups.add(group)
        for ref in image_refs(record):
            trained_images.add(ref.sha256)
    shared = Seen({}, {})  # of evaluation, only what training has too: all of either side would fill the memory
    for opened, record in _records(evaluation):
        _note(shared, opened, record, trained_groups, trained_images)
    if shared.groups and groups:
        first = min(shared.groups)
        there = _look(train, group=first).groups[first]
        raise DataError(
            f"{len(shared.groups)} groups are in training and in evaluation, e.g. {first!r}: in {there} "
            f"and in {shared.groups[first]}",
            "Split by group before anything is built from the cases.",
            field="group_id",
        )
    if shared.images:
        first = min(shared.images)
        there = _look(train, image=first).images[first]
        raise DataError(
            f"{len(shared.images)} images are in training and in evaluation, e.g. {there} and "
            f"{shared.images[first]}",
            "Remove them from one side.",
            field="sha256",
        )
    if max_bits > 0:
        _check_near_duplicates(_look(train).images, _look(evaluation).images, max_bits)


def _records(folders: Iterable[str | Path]) -> Iterator[tuple[RecordFolder[Any], Record]]:
    for folder in folders:
        opened: RecordFolder[Any] = RecordFolder(folder, KINDS[read_manifest(folder).kind])
        for record in opened:
            yield opened, record


def _look(folders: Iterable[str | Path], *, group: str | None = None, image: str | None = None) -> Seen:
    """All groups and images of folders with their first place, or the one group or image that is looked for."""
    seen, one = Seen({}, {}), group is not None or image is not None
    for opened, record in _records(folders):
        _note(seen, opened, record, {group} if one else None, {image} if one else None)
    return seen


def _note(
    seen: Seen,
    opened: RecordFolder[Any],
    record: Record,
    groups: IdSet | set[str | None] | None,
    images: IdSet | set[str | None] | None,
) -> None:
    """Note the first place of a record's group and images; of those that are given, if any are."""
    group = getattr(record, "group_id", None)
    if group and group not in seen.groups and (groups is None or group in groups):
        seen.groups[group] = Place(opened.path, record.id)
    for ref in image_refs(record):
        if ref.sha256 not in seen.images and (images is None or ref.sha256 in images):
            seen.images[ref.sha256] = Place(opened.path, record.id, opened.resolve(ref))


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
