"""What evaluation holds, in little memory: its groups and pictures, exact and near."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlmalign.records import ImageRef, Record, RecordFolder
from vlmalign.records.hashing import difference_hash
from vlmalign.records.id_set import IdSet
from vlmalign.records.manifest import KINDS, read_manifest
from vlmalign.records.near_pictures import NearPictures

REMEMBERED = 4096  # pictures whose hash is at hand: records about one picture stand near each other


class PictureHashes:
    """Difference hashes of a folder's pictures, each picture opened once while its records follow each other.

    Args:
        folder: opened.
    """

    def __init__(self, folder: RecordFolder[Any]) -> None:
        self.folder = folder
        self._known: dict[str, int] = {}

    def of(self, ref: ImageRef) -> int:
        """The 64-bit difference hash of a picture."""
        if ref.sha256 not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[ref.sha256] = difference_hash(self.folder.image(ref))
        return self._known[ref.sha256]


class Protected:
    """Groups and pictures that training must not share.

    Args:
        name: whose they are, for the reader.
        max_bits: how near a picture may come; 0: equal files only.
    """

    def __init__(self, name: str, max_bits: int = 0) -> None:
        self.name = name
        self._groups, self._pictures = IdSet(), IdSet()
        self._near = NearPictures(max_bits) if max_bits else None

    def add(self, record: Record, hashes: PictureHashes | None = None) -> None:
        """Protect a record's group and pictures; `hashes` is needed for near pictures."""
        if group := getattr(record, "group_id", None):
            self._groups.add(group)
        for ref in pictures_of(record):
            self._pictures.add(ref.sha256)
            if self._near is not None and hashes is not None:
                self._near.add(hashes.of(ref), ref.sha256)

    def shares(
        self, record: Record, hashes: PictureHashes | None = None, *, groups: bool = True
    ) -> tuple[str, str] | None:
        """What a record shares: `("group", id)`, `("picture", sha256)`, `("near_picture", sha256)` or nothing."""
        group = getattr(record, "group_id", None)
        if groups and group and group in self._groups:
            return "group", group
        for ref in pictures_of(record):
            if ref.sha256 in self._pictures:
                return "picture", ref.sha256
            if self._near is not None and hashes is not None:
                if (near := self._near.find(hashes.of(ref))) is not None:
                    return "near_picture", near
        return None


def pictures_of(record: Record) -> tuple[ImageRef, ...]:
    """The pictures that a record is about."""
    image = getattr(record, "image", None)
    return (image,) if isinstance(image, ImageRef) else getattr(record, "images", ())


def protected_by(folder: str | Path, max_bits: int = 0) -> Protected:
    """What a folder of any kind holds."""
    opened: RecordFolder[Any] = RecordFolder(folder, KINDS[read_manifest(folder).kind])
    protected = Protected(Path(folder).resolve().name, max_bits)
    hashes = PictureHashes(opened) if max_bits else None
    for record in opened:
        protected.add(record, hashes)
    return protected
