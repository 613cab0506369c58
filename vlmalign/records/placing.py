"""The files of a dataset folder that is being written: pictures and masks, placed and checked once each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from PIL import Image

from vlmalign.records.errors import DataError
from vlmalign.records.folder import load_image
from vlmalign.records.hashing import sha256_bytes, sha256_file
from vlmalign.records.id_set import IdSet
from vlmalign.records.image import ImageRef, check_relative
from vlmalign.records.png import pixels_as_png
from vlmalign.records.writing import link, put

#: how files of common formats begin
STARTS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}

#: what a dataset folder keeps of itself, without suffixes
OWN = ("", "records", "manifest", "skipped", "journal")


class Files:
    """Places files below `images/` of one folder.

    Args:
        folder: the dataset folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked = IdSet()  # places with the hash of what is there, known to this process

    def add_image(self, image: Image.Image | bytes | str | Path, **fields: Any) -> ImageRef:
        """Store an image under its own hash; see `DatasetBuild.add_image`."""
        if isinstance(image, Image.Image):
            image = pixels_as_png(image)
        if isinstance(image, bytes):
            digest, suffix = sha256_bytes(image), _suffix(image)
            place = _place(digest, suffix)
            if not (self.folder / place).exists():
                put(self.folder / place, image)
        else:
            load_image(image)
            digest, suffix = sha256_file(image), Path(image).suffix.lower()
            place = _place(digest, suffix)
            if not (self.folder / place).exists():
                link(Path(image), self.folder / place)
        return ImageRef(path=place, sha256=digest, **fields)

    def adopt(self, path: str, source: Path, sha256: str | None) -> None:
        """Take over a file of another dataset folder after checking its bytes, once.

        Args:
            path: its place, here and there.
            source: the other folder.
            sha256: its hash as the record says it; None where the record says none.

        Raises:
            DataError: it is missing or has other bytes, is a file that the folder keeps of itself, or lies outside
                of the other folder, where a link leads.
        """
        parts = [part for part in path.lower().split("/") if part not in ("", ".")]
        if len(parts) < 2 and "".join(parts).split(".")[0] in OWN:
            raise DataError(
                f"{path!r} is a file that a dataset folder keeps of itself, no picture or mask",
                "Correct the record.",
                file=source,
            )
        place = self.folder / check_relative(path)
        if place.exists() and (sha256 is None or f"{path} {sha256}" in self._checked):
            return
        origin = place if place.exists() else (source / path).resolve()
        if origin != place and not origin.is_relative_to(source.resolve()):
            raise DataError(f"{path!r} leads out of the dataset folder", "Remove the link.", file=source)
        if not origin.is_file():
            raise DataError(
                "the file is missing, and a record names it",
                f"Restore it; `vlmalign data validate {source}` names the record.",
                file=source / path,
            )
        if sha256 is not None:
            found = sha256_file(origin)
            if found != sha256:
                raise DataError(
                    f"the file of image {path!r} was changed or damaged: its SHA-256 is {found[:12]}..., its "
                    f"record says {sha256[:12]}...",
                    f"Restore it, or build its folder again; `vlmalign data validate {source}` names the record.",
                    file=place if origin == place else source / path,
                    field="sha256",
                )
            self._checked.add(f"{path} {sha256}")
        if origin != place:
            link(origin, place)

    def remove_orphans(self, records: Path) -> int:
        """Delete files that no record names, left by an overwritten build or a killed unit; count the rest."""
        named, kept = IdSet(), 0
        with open(records, encoding="utf-8") as lines:
            for line in lines:
                for name in re.findall(r'"(images/[^"]+)"', line):
                    named.add(name)
        for file in (self.folder / "images").rglob("*"):
            if file.is_file() and file.relative_to(self.folder).as_posix() not in named:
                file.unlink()
            else:
                kept += file.is_file()
        return kept


def _suffix(data: bytes) -> str:
    return next((suffix for start, suffix in STARTS.items() if data.startswith(start)), ".bin")


def _place(digest: str, suffix: str) -> str:
    return f"images/{digest[:2]}/{digest}{suffix}"
