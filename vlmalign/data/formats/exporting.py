"""A folder of our records -> a foreign file with its images; what the format cannot hold is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vlmalign.data.formats.files import parquet_schema, write_rows
from vlmalign.data.formats.importing import CARRIED
from vlmalign.data.formats.row import Format, Row, Unfit
from vlmalign.records import DataError, ImageRef, RecordFolder
from vlmalign.records.manifest import KINDS
from vlmalign.records.writing import link, replacing_folder

REPORT = "conversion.json"
SAID = ("id", "images", "prompt", "chosen", "rejected", "response", "extra")
DEFAULTS = {"source": "import", "split": "unassigned"}  # what reading a foreign row gives by itself


@dataclass
class ExportReport:
    """What was written, and what was not.

    Attributes:
        format: its name.
        records: how many rows there are.
        lost: fields that the format cannot hold, with the number of records that had them.
        left_out: records that the format cannot hold at all, by reason.
        unfit: each of them with the field and the rule.
        carried: whether the lost fields stand in a column of their own.
    """

    format: str
    records: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    unfit: list[Row] = field(default_factory=list)
    carried: bool = False

    def told(self) -> Row:
        """As `conversion.json` has it."""
        return {
            "format": self.format, "records": self.records, "lost": dict(sorted(self.lost.items())),
            "left_out": dict(sorted(self.left_out.items())), "unfit": self.unfit, "carried": self.carried,
        }  # fmt: skip


def export_rows(
    form: Format,
    folder: str | Path,
    out: str | Path,
    *,
    carry: bool = False,
    on_unfit: Literal["refuse", "skip"] = "refuse",
) -> ExportReport:
    """Write a folder of our records in a foreign format: `rows.<json|jsonl|parquet>`, `images/` where rows name
    files, and `conversion.json`, the report. The folder appears whole or not at all.

    Args:
        form: of the rows.
        folder: of the format's kind of record.
        out: the folder to write; must not exist.
        carry: put what the format cannot hold, as JSON, in a column `vlmalign` that reading back understands.
        on_unfit: a record that the format cannot hold at all (answers of several turns) is an error, or is left
            out and listed in the report.

    Raises:
        DataError: the folder cannot be used, or a record does not fit, with its id and field.
        FileExistsError: `out` is there.
    """
    opened: RecordFolder[Any] = RecordFolder(folder, KINDS[form.kind])
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} is there already. Delete it or name another folder.")
    report = ExportReport(form.name, carried=carry)
    with replacing_folder(out) as partial:
        writer = _Writer(form, opened, partial, carry, on_unfit)
        schema = None
        if form.container == "parquet":
            schema = parquet_schema(writer.rows(report=None), form.image_fields)
        report.records = write_rows(
            writer.rows(report), partial / f"rows.{form.container}", form.container, schema=schema
        )  # fmt: skip
        for name, content in {**form.beside, REPORT: report.told()}.items():
            (partial / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return report


class _Writer:
    """The rows of one export; with a report it also places the images."""

    def __init__(self, form: Format, folder: RecordFolder[Any], out: Path, carry: bool, on_unfit: str) -> None:
        self.form = form
        self.folder = folder
        self.out = out
        self.carry = carry
        self.on_unfit = on_unfit

    def rows(self, report: ExportReport | None) -> Iterator[Row]:
        """One row for each record that fits. Without a report the images are empty: for the columns alone."""
        for record in self.folder:
            rest = record.extra.get(self.form.name, {})
            images = [self._image(ref, record.id, place=report is not None) for ref in record.images]
            try:
                row = self.form.write(record, images, dict(rest))
            except Unfit as error:
                self._unfit(record.id, error, report)
                continue
            lost = lost_fields(record, self.form)
            if report is not None:
                report.lost.update(lost)
            if self.carry and lost:
                row[CARRIED] = json.dumps(_carry(record, lost), sort_keys=True, ensure_ascii=False)
            yield row

    def _unfit(self, record: str, error: Unfit, report: ExportReport | None) -> None:
        if self.on_unfit == "refuse":
            raise DataError(
                error.rule,
                "Choose another format, or leave such records out with --on-bad skip.",
                file=self.folder.path,
                record=record,
                field=error.field,
            )
        if report is not None:
            report.left_out[f"unfit:{error.field}"] += 1
            report.unfit.append({"id": record, "field": error.field, "rule": error.rule})

    def _image(self, ref: ImageRef, record: str, *, place: bool) -> Any:
        source = self.folder.resolve(ref)
        if not source.is_file():
            raise DataError(
                "the image file is missing", "Restore the file or drop its record.", file=source, record=record
            )
        name = stored_name(ref)
        if self.form.container == "parquet":
            return {"bytes": source.read_bytes() if place else b"", "path": name.rpartition("/")[2]}
        if place and not (self.out / name).exists():
            link(source, self.out / name)
        return name


def stored_name(ref: ImageRef) -> str:
    """Where an image lies in a written folder: by the hash of its bytes, whatever its name was."""
    suffix = Path(ref.path).suffix.lower()
    return f"images/{ref.sha256[:2]}/{ref.sha256}{suffix}"


def lost_fields(record: Any, form: Format) -> list[str]:
    """What a record says that a row of the format cannot.

    Fields at their default are not lost; neither is `case_id` where it is the id, `source` "import", and split
    "unassigned", which reading a row gives by itself.
    """
    lost = []
    for name, info in type(record).model_fields.items():
        if name in SAID or name in form.holds:
            continue
        value = getattr(record, name)
        default = (
            record.id if name == "case_id" else DEFAULTS.get(name, info.get_default(call_default_factory=True))
        )
        if value != default:
            lost.append(name)
    if "id" not in form.holds:
        lost.append("id")
    if any(_details(ref) for ref in record.images):
        lost.append("image_details")
    lost += [f"extra.{name}" for name in record.extra if name != form.name]
    turns = [turn for name in ("prompt", "chosen", "rejected", "response") for turn in getattr(record, name, ())]
    if form.name != "trl" and any(_merges_parts(turn) for turn in turns):
        lost.append("text_parts")
    return lost


def _merges_parts(turn: Any) -> bool:
    kinds = [part.type for part in turn.content]
    return any(pair == ("text", "text") for pair in zip(kinds, kinds[1:], strict=False))


def _details(ref: ImageRef) -> Row:
    return ref.model_dump(mode="json", exclude_defaults=True, exclude={"path", "sha256"})


def _carry(record: Any, lost: list[str]) -> Row:
    """The lost fields as reading takes them."""
    whole = record.model_dump(mode="json")
    carried = {name: whole[name] for name in lost if name in whole}
    if "image_details" in lost:
        carried["image_details"] = [_details(ref) for ref in record.images]
    if others := {name: record.extra[name] for name in record.extra if f"extra.{name}" in lost}:
        carried["extra"] = others
    return carried
