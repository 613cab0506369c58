"""No leakage: training and evaluation share no group and no near-duplicate image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlmalign.records.errors import DataError
from vlmalign.records.folder import RecordFolder, load_image
from vlmalign.records.hashing import difference_hash
from vlmalign.records.manifest import KINDS, read_manifest
from vlmalign.records.validation import image_refs


def groups_and_images(folder: str | Path) -> tuple[set[str], dict[str, Path]]:
    """Group ids of a folder's records, and its images by SHA-256."""
    opened = RecordFolder(folder, KINDS[read_manifest(folder).kind])
    groups: set[str] = set()
    images: dict[str, Path] = {}
    for record in opened:
        if getattr(record, "group_id", None):
            groups.add(record.group_id)  # type: ignore[attr-defined]
        for ref in image_refs(record):
            images[ref.sha256] = opened.resolve(ref)
    return groups, images


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
        DataError: naming the shared groups or one shared pair of images.
    """
    train_groups, train_images = _union(train)
    test_groups, test_images = _union(evaluation)
    shared = sorted(train_groups & test_groups)
    if shared and groups:
        raise DataError(
            f"{len(shared)} groups are in training and in evaluation, e.g. {shared[:3]}",
            "Split by group before anything is built from the cases.",
            field="group_id",
        )
    same = sorted(set(train_images) & set(test_images))
    if same:
        raise DataError(
            f"{len(same)} images are in training and in evaluation, e.g. {train_images[same[0]]}",
            "Remove them from one side.",
            field="sha256",
        )
    if max_bits > 0:
        _check_near_duplicates(train_images, test_images, max_bits)


def _union(folders: Iterable[str | Path]) -> tuple[set[str], dict[str, Path]]:
    groups: set[str] = set()
    images: dict[str, Path] = {}
    for folder in folders:
        more_groups, more_images = groups_and_images(folder)
        groups |= more_groups
        images |= more_images
    return groups, images


def _check_near_duplicates(train: dict[str, Path], test: dict[str, Path], max_bits: int) -> None:
    hashes = {digest: difference_hash(load_image(path)) for digest, path in train.items()}
    for path in test.values():
        mine = difference_hash(load_image(path))
        for digest, other in hashes.items():
            if (mine ^ other).bit_count() <= max_bits:
                raise DataError(
                    f"near-duplicate images in training and evaluation: {train[digest]} and {path}",
                    f"Remove one, or lower the limit of {max_bits} differing bits if they are not the same.",
                    field="image",
                )
