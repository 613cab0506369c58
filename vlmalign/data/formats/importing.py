"""Foreign rows -> a folder of our records. All rows are read and checked before the first is written."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import ValidationError

from vlmalign.data.formats.files import read_rows, row_files
from vlmalign.data.formats.groups import PictureGroups, column_group, text_group
from vlmalign.data.formats.llama_factory import INFO, entry_of, standard
from vlmalign.data.formats.pictures import Pictures
from vlmalign.data.formats.row import Format, LeftOut, Read, Row, Spot
from vlmalign.records import DataError, DatasetBuild, ImageRef, Message
from vlmalign.records.case import Split
from vlmalign.records.hashing import sha256_file
from vlmalign.records.id_set import IdSet
from vlmalign.records.manifest import KINDS, DataUse
from vlmalign.records.writing import replacing

LEFT_OUT = "left_out.jsonl"
CARRIED = "vlmalign"  # the column in which a written row carries what its format cannot hold
LONGEST_ID = 200


@dataclass(frozen=True)
class ImportOptions:
    """How foreign rows are read.

    Attributes:
        images: folder that paths of images start from; the folder of the file if None.
        split: of all records; a row that carries its own keeps that.
        group: column whose value is the group (a patient, a study); None: rows that share a picture are a group.
        key: secret of the groups' pseudonyms, needed with `group`; it is not written anywhere.
        drop: fields of the rows that are not kept, e.g. names and identifiers.
        on_bad: what becomes of a row that breaks a rule: an error, or it is left out and listed.
        dataset: entry of `dataset_info.json`, where there are several.
        data_use: where the data may be sent; rows do not tell their licence, so nowhere until it is said.
    """

    images: Path | None = None
    split: Split = "unassigned"
    group: str | None = None
    key: bytes | None = field(default=None, repr=False)
    drop: tuple[str, ...] = ()
    on_bad: Literal["refuse", "skip"] = "refuse"
    dataset: str | None = None
    data_use: DataUse = "local_only"

    def __post_init__(self) -> None:
        if (self.group is None) != (self.key is None):
            raise ValueError("group and key belong together: a group's value is kept as a keyed pseudonym only")

    def told(self) -> Row:
        """What decides the content, for the manifest; the key by its hash would be as good as the key."""
        return {"split": self.split, "group": self.group, "drop": sorted(self.drop), "on_bad": self.on_bad,
                "dataset": self.dataset}  # fmt: skip


def import_rows(
    form: Format,
    path: str | Path,
    out: str | Path,
    *,
    options: ImportOptions | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the rows of a foreign file as a folder of our records.

    Args:
        form: of the rows.
        path: a file, or a folder of files of one kind (for LLaMA-Factory, that of `dataset_info.json`).
        out: the folder; the same call continues an interrupted import.
        options: how rows are read.
        overwrite: replace a folder of other settings.

    Returns:
        The folder. Its manifest counts `rows`, `left_out:<reason>` (ties, videos) and `bad_rows`; `left_out.jsonl`
        lists them with their file, row and reason.

    Raises:
        DataError: a row breaks a rule, with file, row and field; nothing is written then.
    """
    options = options or ImportOptions()
    source = _Source(form, Path(path), options)
    config = {
        "builder": "import@1", "format": form.name, "rows_sha256": [sha256_file(file) for file in source.files],
        **options.told(),
    }  # fmt: skip
    listed = source.look()
    notes = {"format": f"{form.name}: {form.about}", "groups": source.about_groups()}
    with DatasetBuild(
        out, form.kind, config, overwrite=overwrite, notes=notes, data_use=options.data_use
    ) as build:
        if not build.finished:
            for number, outcome in enumerate(source.outcomes(), start=1):
                if not build.has(unit := f"row-{number}"):
                    source.commit(build, unit, outcome)
        if listed.tell():
            listed.seek(0)
            with replacing(build.path / LEFT_OUT) as partial, open(partial, "wb") as file:
                shutil.copyfileobj(listed, file)
    return build.path


@dataclass(frozen=True)
class _Outcome:
    """What becomes of one row."""

    spot: Spot
    what: Read | LeftOut | DataError

    def line(self) -> bytes:
        """Why there is no record, as `left_out.jsonl` tells it."""
        why: Row = {"file": self.spot.file.name, "row": self.spot.number}
        if isinstance(self.what, LeftOut):
            why["reason"] = self.what.reason
        elif isinstance(self.what, DataError):
            why |= {"reason": "bad_row", "field": self.what.field, "rule": self.what.rule}
        return (json.dumps(why, ensure_ascii=False, sort_keys=True) + "\n").encode()


class _Source:
    """The rows of one import, read several times: once to check, once to write."""

    def __init__(self, form: Format, path: Path, options: ImportOptions) -> None:
        self.form = form
        self.options = options
        self.entry: Mapping[str, Any] | None = None
        if form.name == "llama-factory" and (path / INFO).is_file():
            path, self.entry = entry_of(path, options.dataset)
        elif options.dataset is not None:
            raise ValueError("dataset is given, and no dataset_info.json of a ranking is read: drop it")
        self.files = row_files(path)
        self.pictures = Pictures(options.images or (path if path.is_dir() else path.parent))
        self.groups = PictureGroups()
        self.decode = True

    def about_groups(self) -> str:
        """The sentence for the manifest."""
        if self.options.group is None:
            return "Rows that share a picture are one group: nothing is known of patients."
        return f"The group is the keyed pseudonym of column {self.options.group!r}, which is not kept."

    def look(self) -> IO[bytes]:
        """Read and check every row, and learn which pictures belong together; lists what is left out."""
        listed, rows = tempfile.TemporaryFile(), 0
        for outcome in self.outcomes():
            rows += 1
            if not isinstance(outcome.what, Read):
                listed.write(outcome.line())
        if not rows:
            raise DataError("there is no row", "Name a file with rows.", file=self.files[0])
        self.decode = False  # once is enough
        return listed

    def outcomes(self) -> Iterator[_Outcome]:
        """Every row in order."""
        seen = IdSet()
        for number, (spot, row) in enumerate(read_rows(self.files), start=1):
            try:
                outcome = self._outcome(spot, row, number, seen)
            except DataError as error:
                if self.options.on_bad == "refuse":
                    raise
                outcome = _Outcome(spot, error)
            yield outcome

    def _outcome(self, spot: Spot, row: Row, number: int, seen: IdSet) -> _Outcome:
        if self.entry is not None:
            row = standard(row, self.entry)
        row = {name: value for name, value in row.items() if name not in self.options.drop}
        group = self.options.group
        if group is not None:
            assert self.options.key is not None
            pseudonym = column_group(row, group, self.options.key, spot)
            row = {name: value for name, value in row.items() if name != group}
        carried = _carried(row, spot)
        row = {name: value for name, value in row.items() if name != CARRIED}
        read = self.form.read(row, spot)
        if isinstance(read, LeftOut):
            return _Outcome(spot, read)
        fields, rest = {**read.fields, **carried}, _as_json(dict(read.rest), spot)
        name = self._name(read, rest, fields, seen, spot, number)
        hashes = [
            self.pictures.sha256(image, spot, f"images.{k}", decode=self.decode)
            for k, image in enumerate(read.images)
        ]
        if group is not None:
            fields["group_id"] = pseudonym
        elif "group_id" not in fields:
            if len(hashes) > 1:
                self.groups.join(hashes)
            fields["group_id"] = self.groups.of(hashes) if hashes else text_group(_prompt_text(fields["prompt"]))
        details = fields.pop("image_details", [{}] * len(hashes))
        fields |= {"id": name, "images": self._refs(details, hashes, spot)}
        fields["extra"] = {**fields.get("extra", {}), **({self.form.name: rest} if rest else {})}
        record = self._record(fields, spot)
        return _Outcome(spot, Read({"record": record}, read.images))

    def _name(self, read: Read, rest: Row, fields: Row, seen: IdSet, spot: Spot, number: int) -> str:
        """The row's own id, with the row's number where it is not unique; how it stood there goes to `rest`."""
        own = fields.pop("id", read.id)
        if isinstance(own, bool) or not isinstance(own, (str, int, type(None))):
            raise spot.error(self.form.id_field, f"got {own!r}; expected a text or a whole number")
        name = f"row-{number}" if own in (None, "") else str(own)
        if len(name) > LONGEST_ID or not seen.add(name):
            name = f"{name[: LONGEST_ID - 20]}#{number}"
            if not seen.add(name):
                raise spot.error(self.form.id_field, f"the id {own!r} is used twice, and {name!r} as well")
        if self.form.id_field is not None and name != own:
            rest[self.form.id_field] = own
        return name

    def _refs(self, details: Any, hashes: list[str], spot: Spot) -> tuple[ImageRef, ...]:
        if len(details) != len(hashes):
            raise spot.error(CARRIED, f"{len(details)} images are described, and the row has {len(hashes)}")
        refs = zip(details, hashes, strict=True)
        return tuple(_valid(ImageRef, {**own, "path": f"images/{sha}", "sha256": sha}, spot) for own, sha in refs)

    def _record(self, fields: Row, spot: Spot) -> Any:
        fields.setdefault("case_id", fields["id"])
        fields.setdefault("split", self.options.split)
        fields.setdefault("source", "import")
        return _valid(KINDS[self.form.kind], fields, spot)

    def commit(self, build: DatasetBuild, unit: str, outcome: _Outcome) -> None:
        """Write one row's record and images, or count why there is none."""
        what = outcome.what
        if not isinstance(what, Read):
            name = f"left_out:{what.reason}" if isinstance(what, LeftOut) else "bad_rows"
            build.commit(unit, [], {"rows": 1, name: 1})
            return
        record = what.fields["record"]
        refs = []
        for number, (image, ref) in enumerate(zip(what.images, record.images, strict=True)):
            stored = build.add_image(self.pictures.find(image, outcome.spot, f"images.{number}"))
            refs.append(ref.model_copy(update={"path": stored.path}))
        build.commit(unit, [record.model_copy(update={"images": tuple(refs)})], Counter(rows=1))


def _valid(kind: Any, fields: Row, spot: Spot) -> Any:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or None
        raise spot.error(place, first["msg"].removeprefix("Value error, ")) from None


def _carried(row: Row, spot: Spot) -> Row:
    """What our own export put in the row beside the format's fields."""
    if row.get(CARRIED) is None:
        return {}
    try:
        value = json.loads(row[CARRIED])
    except (ValueError, TypeError):
        value = None
    if not isinstance(value, dict):
        raise spot.error(CARRIED, "expected JSON of the fields that our own export wrote")
    return value


def _as_json(rest: Row, spot: Spot) -> Row:
    for name, value in rest.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            rule = f"the value cannot be kept as JSON ({error})"
            raise spot.error(name, rule, f"Leave the field out with --drop {name}.") from None
    return rest


def _prompt_text(prompt: tuple[Message, ...]) -> str:
    return "\n".join(turn.text for turn in prompt)
