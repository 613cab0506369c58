"""Are the files that records name there? Asked of a million records, so without opening any of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from vlmalign.records.base import Record
from vlmalign.records.case import Case
from vlmalign.records.errors import DataError
from vlmalign.records.finding import Finding
from vlmalign.records.folder import RecordFolder
from vlmalign.records.id_set import IdSet
from vlmalign.records.image import ImageRef

Problem = tuple[str, str, str]  # rule, remedy, field


def file_names(record: Record) -> Iterator[str]:
    """Paths of all images and masks that a record names.

    Example:
        >>> from vlmalign.records import ImageRef, user
        >>> case = Case(id="c1", images=(ImageRef(path="images/x.png", sha256="0" * 64),), domain="d",
        ...             messages=(user("Describe.", images=1),), group_id="g", group_kind="slide")
        >>> list(file_names(case))
        ['images/x.png']
    """
    for ref in getattr(record, "images", ()):
        yield ref.path
    findings: tuple[Finding, ...] = ()
    if isinstance(record, Finding):
        findings = (record,)
    elif isinstance(record, Case) and record.reference is not None:
        findings = record.reference.findings
    for finding in findings:
        yield finding.image.path
        if finding.region is not None and finding.region.mask is not None:
            yield finding.region.mask


class Presence:
    """Which files of one folder are there; each is looked for once.

    Args:
        folder: opened.
    """

    def __init__(self, folder: RecordFolder[Any]) -> None:
        self.folder = folder
        self._root = os.path.realpath(folder.path)
        self._inside: dict[str, bool] = {}  # by parent folder: whether it leads to where its name says
        self._there = IdSet()

    def of_all(self, record: Record) -> bool:
        """Whether every file of a record is there."""
        return all(self.of(path) for path in file_names(record))

    def of(self, path: str) -> bool:
        """Whether a file is there, inside the folder."""
        if path in self._there:
            return True
        if not (self._plainly(path) or self._problem(path) is None):
            return False
        self._there.add(path)
        return True

    def problems(self, place: str, part: BaseModel) -> Iterator[Problem]:
        """What is wrong with the files that this part of a record names."""
        named = {}
        if isinstance(part, ImageRef):
            named["path"] = part.path
        elif isinstance(part, Finding) and part.region is not None and part.region.mask is not None:
            named["region.mask"] = part.region.mask
        for name, path in named.items():
            if not self.of(path) and (error := self._problem(path)) is not None:
                yield f"{path}: {error.rule}", error.remedy, join(place, name)

    def _plainly(self, path: str) -> bool:
        """Whether this is an ordinary file in an ordinary folder; a link is looked at by `_problem`."""
        parent, _, name = path.rpartition("/")
        real = os.path.join(self._root, parent) if parent else self._root
        if parent not in self._inside:
            self._inside[parent] = os.path.realpath(real) == real
        if not self._inside[parent]:
            return False
        try:
            return stat.S_ISREG(os.lstat(f"{real}/{name}").st_mode)
        except OSError:
            return False

    def _problem(self, path: str) -> DataError | None:
        try:
            file = self.folder.resolve(path)
        except DataError as error:
            return error
        if file.is_file():
            return None
        return DataError("the image file is missing", "Restore the file or drop its record.", file=file)


def join(place: str, name: str) -> str:
    """Dotted name of a field below a place, which may be the record itself."""
    return f"{place}.{name}" if place else name
