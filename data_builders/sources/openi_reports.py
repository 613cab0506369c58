"""Reports of the Indiana University chest X-ray collection (Open-i; Demner-Fushman et al. 2016), as XML.

Read from the archive as it is (`NLMCXR_reports.tgz`, nothing is unpacked), or from a folder of XML files. The
words that de-identification took out stand as XXXX; they are kept and counted.
"""

from __future__ import annotations

import re
import tarfile
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_builders.sources.contained import files_below
from vlmalign.records import DataError

TOKEN = "XXXX"
LARGEST = 4_000_000  # bytes of one report; the real ones have about 10,000
PICTURE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True)
class OpeniReport:
    """One report. Texts are empty where the report has none; pictures are names without folder or suffix."""

    uid: str
    findings: str
    impression: str
    indication: str
    comparison: str
    mesh: tuple[str, ...]  # headings chosen by people, e.g. "Cardiomegaly/mild" or "normal"
    automatic: tuple[str, ...]  # headings found by a program
    pictures: tuple[str, ...]

    @property
    def text(self) -> str:
        """Findings and impression with their headings, as far as they are there."""
        parts = (("FINDINGS", self.findings), ("IMPRESSION", self.impression))
        return "\n".join(f"{name}: {body}" for name, body in parts if body)

    @property
    def deidentified_words(self) -> int:
        """How many words of the four texts were taken out."""
        return sum(t.count(TOKEN) for t in (self.findings, self.impression, self.indication, self.comparison))


def read_openi(path: str | Path, bad: Callable[[DataError], None] | None = None) -> Iterator[OpeniReport]:
    """Read every report of an archive or a folder, in the archive's order or by name.

    Args:
        path: a .tgz, a folder of XML files, or a folder that holds one .tgz.
        bad: told of each report that cannot be read; None raises at the first.

    Raises:
        DataError: no such file, a damaged archive, no report in it; without `bad`, a report that cannot be read.
    """
    path = archive_of(Path(path))
    seen: set[str] = set()
    for name, data in _members(path):
        place = f"{path}:{name}" if path.is_file() else str(path / name)
        try:
            report = parse_openi(data, file=place)
            if report.uid in seen:
                raise DataError(f"a second report of id {report.uid!r}", "Keep one.", file=place)
        except DataError as error:
            if bad is None:
                raise
            bad(error)
            continue
        seen.add(report.uid)
        yield report
    if not seen:
        raise DataError("there is no readable report in it", "Pass NLMCXR_reports.tgz or its folder.", file=path)


def parse_openi(data: bytes, *, file: str = "report.xml") -> OpeniReport:
    """Read one report.

    Raises:
        DataError: malformed XML, a document type (which could define entities), no id, or no report text element.

    Example:
        >>> parse_openi(b'<eCitation><uId id="CXR1"/><AbstractText Label="IMPRESSION">Normal.</AbstractText>'
        ...             b'<MeSH><major>normal</major></MeSH></eCitation>').text
        'IMPRESSION: Normal.'
    """
    if len(data) > LARGEST:
        raise DataError(f"the report has {len(data):,} bytes, more than {LARGEST:,}", "Fetch it again.", file=file)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError("the XML declares a document type", "Remove the declaration.", file=file)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        line = error.position[0] if isinstance(error, ElementTree.ParseError) else None
        raise DataError(f"malformed XML ({error})", "Fetch it again.", file=file, line=line) from None
    uid = root.find("uId")
    if uid is None or not uid.get("id"):
        raise DataError("the report has no id", "Fetch it again.", file=file, field="uId")
    texts = {(item.get("Label") or "").upper(): item for item in root.iter("AbstractText")}
    if not texts:
        raise DataError("the report has no AbstractText", "Fetch it again.", file=file, field="AbstractText")
    body = {label: " ".join("".join(item.itertext()).split()) for label, item in texts.items()}
    pictures = tuple(item.get("id") or "" for item in root.iter("parentImage"))
    for picture in pictures:
        if not PICTURE_NAME.fullmatch(picture):
            raise DataError(f"{picture!r} is not the name of a picture", "Fetch it again.", file=file)
    return OpeniReport(
        uid=uid.get("id") or "",
        findings=body.get("FINDINGS", ""),
        impression=body.get("IMPRESSION", ""),
        indication=body.get("INDICATION", ""),
        comparison=body.get("COMPARISON", ""),
        mesh=_texts(root, "major"),
        automatic=_texts(root, "automatic"),
        pictures=pictures,
    )


def _texts(root: ElementTree.Element, tag: str) -> tuple[str, ...]:
    return tuple(text for item in root.iter(tag) if (text := (item.text or "").strip()))


def archive_of(path: Path) -> Path:
    """The archive that a path means: itself, or the one .tgz in the folder; the folder where there is none.

    Raises:
        DataError: no such file or folder; several archives.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError("no such file or folder", "Pass NLMCXR_reports.tgz or its folder.", file=path)
    archives = sorted([*path.glob("*.tgz"), *path.glob("*.tar.gz")])
    if len(archives) > 1:
        raise DataError(f"the folder holds {len(archives)} archives", "Pass one of them.", file=path)
    return archives[0] if archives else path


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.is_dir():
        for file in files_below(archive, [".xml"]):
            with open(file, "rb") as report:
                yield file.relative_to(archive).as_posix(), report.read(LARGEST + 1)
        return
    try:
        with tarfile.open(archive, "r|*") as members:
            for member in members:
                content = members.extractfile(member) if member.isfile() else None
                if content is not None and member.name.endswith(".xml"):
                    yield member.name, content.read(LARGEST + 1)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"the archive cannot be read ({error})", "Fetch it again.", file=archive) from None
