"""Give a study to its readers: a folder each that opens from disk, or tables and a REDCap project."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

from vlmalign.reader_study.answer_columns import answer_columns
from vlmalign.reader_study.page import reader_page
from vlmalign.reader_study.redcap import data_dictionary, import_records, plain_table
from vlmalign.reader_study.study import (
    IMAGES,
    PUBLIC,
    STUDY_FILE,
    PublicStudy,
    ReaderForm,
    read_public,
    refuse_others,
)
from vlmalign.records import DataError
from vlmalign.records.hashing import sha256_file
from vlmalign.records.writing import put, replacing_folder

Format = Literal["form", "csv", "redcap"]
SOME_DAY = 946684800  # 2000-01-01: the time of every file, as times could tell the order of the work
MARK = ".reader-study"
WRITTEN = (MARK, "index.html", "READ ME.txt", "study.csv", "dictionary.csv", "records.csv")
READ_ME = """\
{title}

Open index.html in a browser (Firefox, Chrome, Edge or Safari). No network is needed and nothing is sent anywhere.
Keep the folder "images" beside it. Your answers stay in this browser until you save them to a file at the end;
"Save to file" saves them at any time, and "Load" goes on from such a file, on another computer too.

Research only; not for clinical decisions.
"""


def export_study(
    study: str | Path,
    out: str | Path,
    *,
    formats: Sequence[str] = ("form",),
    readers: Sequence[str] = (),
    inline: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write what readers get. Only the public part is read, so that nothing of the key can get into it.

    Args:
        study: the study folder.
        out: the folder to write: `reader-NAME/` for each reader, and `redcap/` with dictionary.csv and
            records.csv.
        formats: `form` (the page), `csv` (a table in the reader's folder), `redcap`.
        readers: only these; default all.
        inline: hold the images within the page, as one file.
        overwrite: replace a folder of another study.

    Returns:
        The folders.

    Raises:
        ValueError: an unknown format or reader.
        DataError: no study, a picture that is missing, or an `out` that holds something else, be it answers that
            were saved in it.
    """
    study, out = Path(study), Path(out)
    public = read_public(study)
    _check(public, formats, readers)
    _check_out(study, out, overwrite)
    forms = [form for form in public.forms if not readers or form.reader in readers]
    with replacing_folder(out) as partial:
        put(partial / MARK, (sha256_file(study / PUBLIC / STUDY_FILE) + "\n").encode())
        for form in forms:
            _reader_folder(study, public, form, partial / f"reader-{form.reader}", formats, inline)
        if "redcap" in formats:
            put(partial / "redcap" / "dictionary.csv", data_dictionary(public).encode())
            put(partial / "redcap" / "records.csv", import_records(public, forms).encode())
            _pictures(study, forms, partial / "redcap")
        for path in partial.rglob("*"):
            os.utime(path, (SOME_DAY, SOME_DAY))
    return sorted(path for path in out.iterdir() if path.is_dir())


def _check(public: PublicStudy, formats: Sequence[str], readers: Sequence[str]) -> None:
    for name in formats:
        if name not in get_args(Format):
            raise ValueError(f"format {name!r}: choose among {', '.join(get_args(Format))}")
    for reader in readers:
        if public.form(reader) is None:
            known = ", ".join(form.reader for form in public.forms)
            raise ValueError(f"reader {reader!r} is not in the study: it has {known}")


def _check_out(study: Path, out: Path, overwrite: bool) -> None:
    if out.resolve() == study.resolve() or study.resolve() in out.resolve().parents:
        raise ValueError(f"{out} lies within the study folder, with the key: choose another --out")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MARK).is_file():
        raise DataError("the folder is not empty and holds no exported study", "Choose another --out.", file=out)
    same = (out / MARK).read_text().strip() == sha256_file(study / PUBLIC / STUDY_FILE)
    if not same and not overwrite:
        raise DataError(
            "the folder holds another exported study", "Choose another --out, or pass --overwrite.", file=out
        )
    refuse_others(out, lambda path: path.name in WRITTEN or (path.parent.name == IMAGES and path.suffix == ".png"))


def _reader_folder(
    study: Path, public: PublicStudy, form: ReaderForm, folder: Path, formats: Sequence[str], inline: bool
) -> None:
    if "form" in formats:
        pictures = {name: _picture(study, name) for name in _names([form])} if inline else None
        put(folder / "index.html", reader_page(public, form, pictures).encode())
        put(folder / "READ ME.txt", READ_ME.format(title=public.title).encode())
    if "csv" in formats:
        table = plain_table(public, form, answer_columns(public.questions))
        put(folder / "study.csv", table.encode())
    if "csv" in formats or ("form" in formats and not inline):
        _pictures(study, [form], folder)


def _pictures(study: Path, forms: Iterable[ReaderForm], folder: Path) -> None:
    for name in _names(forms):
        put(folder / IMAGES / name, _picture(study, name))


def _picture(study: Path, name: str) -> bytes:
    path = study / PUBLIC / IMAGES / name
    if not path.is_file():
        raise DataError("the image file is missing", "Run the design again with --overwrite.", file=path)
    return path.read_bytes()


def _names(forms: Iterable[ReaderForm]) -> list[str]:
    """In the order of the names, which tells nothing."""
    return sorted({name for form in forms for reading in form.readings for name in reading.images})
