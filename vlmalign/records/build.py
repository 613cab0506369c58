"""Writing a dataset folder so that a kill at any moment loses nothing and changes nothing.

A build is a sequence of *units* (one input, or one batch of inputs), committed in input order. Each
unit is one line of a journal: its records, the counts of what it left out, and nothing else. A build
that is started again skips the units that the journal already holds, and finishing turns the journal
into `records.jsonl` and a manifest. The same inputs so give the same bytes, however often it was killed. One
process at a time writes: a second one is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from vlmalign.records.base import Record
from vlmalign.records.errors import DataError
from vlmalign.records.hashing import sha256_file
from vlmalign.records.id_set import IdSet
from vlmalign.records.image import ImageRef
from vlmalign.records.journal import append, open_locked, release
from vlmalign.records.manifest import (
    KINDS,
    MANIFEST,
    RECORDS,
    SKIPPED,
    Kind,
    Manifest,
    write_atomic,
    write_manifest,
)
from vlmalign.records.output_folder import OutputFolder
from vlmalign.records.placing import Files
from vlmalign.records.shards import SHARD, active_shard
from vlmalign.records.writing import replacing


class DatasetBuild:
    """A dataset folder being written.

    Args:
        folder: where; created if absent.
        kind: which record type.
        config: everything that decides the content; another config on the same folder is refused.
        overwrite: replace a complete folder, or an unfinished build of other settings. The old content
            stays readable until the new one is complete; a killed build of this config continues.
        notes: sentences for the reader of the manifest (grouping unit, licence ...).
        data_use: where the data may be sent.

    Raises:
        DataError: the folder is of another config or kind, or holds something else, or another process
            is writing in it.

    Example:
        >>> import tempfile
        >>> from vlmalign.records import Judgement, read_records
        >>> folder = tempfile.mkdtemp() + "/judged"
        >>> with DatasetBuild(folder, "judgement", {"rule": "v1"}) as build:
        ...     for case in ["a", "b"]:
        ...         if not build.has(case):
        ...             build.commit(case, [Judgement(id=case, case_id=case, candidate_ids=(case + "/0",),
        ...                                           criterion="demo", judge="demo@1", score=1.0)])
        >>> [record.id for record in read_records(folder, Judgement)]
        ['a', 'b']
    """

    def __init__(
        self,
        folder: str | Path,
        kind: Kind,
        config: Mapping[str, Any],
        *,
        overwrite: bool = False,
        notes: Mapping[str, str] | None = None,
        data_use: str = "open",
    ) -> None:
        self.path = Path(folder)
        self.kind: Kind = kind
        self.shard = active_shard()
        self.config = json.loads(json.dumps(config)) | ({SHARD: str(self.shard)} if self.shard else {})
        self._divided = False
        self.notes = dict(notes or {})
        self.data_use = data_use
        self.counts: Counter[str] = Counter()
        self._folder = OutputFolder(self.path, kind, self.config)
        self._files = Files(self.path)
        self._units = IdSet()
        self._ids = IdSet()
        self.finished = False
        self._open(overwrite)

    def _open(self, overwrite: bool) -> None:
        self._look_for_completed(overwrite)
        if self.finished:
            self._folder.remove_leftover()  # a kill came between the manifest and this
            return
        self._made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        journal = self._folder.journal
        self._journal = open_locked(journal)
        try:
            self._look_for_completed(overwrite)  # again: another process may have completed it before we held it
            if not self.finished:
                self._continue(overwrite)
        except BaseException:
            if not journal.stat().st_size:
                journal.unlink()
            release(self._journal)
            raise
        if self.finished:
            release(self._journal)
            self._folder.remove_leftover()

    def _look_for_completed(self, overwrite: bool) -> None:
        manifest = self._folder.completed(overwrite)
        if manifest is not None:
            self.finished = True
            self.counts = Counter(manifest.counts)

    def _continue(self, overwrite: bool) -> None:
        for entry in self._folder.take_over(self._journal, overwrite):
            self._units.add(entry["unit"])
            for record_id in entry["ids"]:
                self._ids.add(record_id)
            self.counts.update(entry["counts"])
            self.counts["records"] += len(entry["ids"])

    def part(self, units: int) -> range:
        """Which of so many units, in the order of the input, this build is to write: all, or its shard's.

        A builder that asks can run in shards (`vlmalign.records.shards`), so its units must not depend on each
        other.
        """
        self._divided = True
        return range(units) if self.shard is None else self.shard.part(units)

    def has(self, unit: str) -> bool:
        """Whether this unit is already written, in this run or an earlier one."""
        return self.finished or unit in self._units

    def commit(
        self,
        unit: str,
        records: Iterable[Record],
        counts: Mapping[str, int] | None = None,
        skipped: Iterable[Mapping[str, str]] = (),
    ) -> None:
        """Write one unit: all of its records or, after a kill, none.

        Args:
            unit: its name, unique in the build.
            records: zero or more records, ids unique in the folder.
            counts: what was left out and why, e.g. `{"ties": 3}`; summed in the manifest.
            skipped: what could not be read and why, a line each of `skipped.jsonl`, in the order of the units.
        """
        self._check_divided()
        records = list(records)
        record_type = KINDS[self.kind]
        for record in records:
            if not isinstance(record, record_type):
                raise TypeError(f"unit {unit!r}: got {type(record).__name__}, expected {record_type.__name__}")
            if not self._ids.add(record.id):
                raise DataError(
                    f"duplicate id {record.id!r}",
                    "Ids must be unique within a folder.",
                    file=self.path,
                    record=record.id,
                    field="id",
                )
        if self.has(unit):
            raise ValueError(f"unit {unit!r} is already committed")
        entry: dict[str, Any] = {
            "unit": unit,
            "ids": [record.id for record in records],
            "counts": dict(counts or {}),
            "lines": [record.to_line() for record in records],
        }
        if told := [dict(item) for item in skipped]:
            entry["skipped"] = told
        append(self._folder.journal, self._journal, json.dumps(entry, ensure_ascii=False, sort_keys=True) + "\n")
        self._units.add(unit)
        self.counts.update(counts or {})
        self.counts["records"] += len(records)

    def _check_divided(self) -> None:
        if self.shard is not None and not self._divided:
            raise ValueError(f"shard {self.shard}: this build looks at its whole input and cannot be divided")

    def add_image(self, image: Image.Image | bytes | str | Path, **fields: Any) -> ImageRef:
        """Store an image under its own hash and return the reference; an equal image is stored once.

        A PIL image is written as PNG. A path is linked (or copied) as it is, after it was decoded whole.
        `fields` are those of `ImageRef` (modality, spacing_mm ...).
        """
        return self._files.add_image(image, **fields)

    def adopt(self, ref: ImageRef, source: Path) -> ImageRef:
        """Take over an image of another dataset folder (`source` is that folder) under the same name.

        Raises:
            DataError: the file is missing, or has other bytes than the reference says.
        """
        self._files.adopt(ref.path, source, ref.sha256)
        return ref

    def adopt_file(self, path: str, source: Path) -> str:
        """Take over a file, e.g. a mask, that a record of another dataset folder names.

        Where the file is named by its hash, as `add_image` names it, its bytes are checked as well.
        """
        stem = Path(path).stem
        self._files.adopt(path, source, stem if re.fullmatch("[0-9a-f]{64}", stem) else None)
        return path

    def leave_nothing(self) -> None:
        """Remove what is here of a build that committed no unit; for one that fails and has nothing to continue.

        What was there before, a complete folder that was to be overwritten or an empty one, stays.
        """
        if self.finished or len(self._units) or (self.path / MANIFEST).exists():
            return
        with suppress(OSError):  # what failed is told, not this
            shutil.rmtree(self.path / "images", ignore_errors=True)
            self._folder.journal.unlink(missing_ok=True)
            if self._made:
                self.path.rmdir()

    def close(self) -> None:
        """Turn the journal into `records.jsonl` and `manifest.json`. Does nothing when complete.

        Raises:
            DataError: the journal holds other units than this build wrote and found.
        """
        if self.finished:
            return
        try:
            self._check_divided()
            with replacing(self.path / RECORDS) as partial:
                self._write_records(partial)
                (self.path / MANIFEST).unlink(missing_ok=True)
            images = self._files.remove_orphans(self.path / RECORDS)
            write_manifest(self.path, self._manifest(images))
            self._folder.journal.unlink(missing_ok=True)
        finally:
            release(self._journal)  # only now may another process write here
        self.finished = True

    def _write_records(self, target: Path) -> None:
        units = records = 0
        skipped: list[str] = []
        with open(self._folder.journal, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as out:
            next(lines)
            for line in lines:
                entry = json.loads(line)
                units += 1
                out.writelines(record + "\n" for record in entry["lines"])
                records += len(entry["lines"])
                skipped += [
                    json.dumps(item, ensure_ascii=False, sort_keys=True) for item in entry.get("skipped", ())
                ]
            out.flush()
            os.fsync(out.fileno())
        if (units, records) != (len(self._units), self.counts["records"]):
            raise DataError(
                f"the journal holds {units} units with {records} records, this build knows of {len(self._units)} "
                f"with {self.counts['records']}: another process wrote here too",
                "Let one process write, and run the same command again: it continues.",
                file=self._folder.journal,
            )
        (self.path / SKIPPED).unlink(missing_ok=True)
        if skipped:
            write_atomic(self.path / SKIPPED, ("\n".join(skipped) + "\n").encode())

    def _manifest(self, images: int) -> Manifest:
        return Manifest(
            kind=self.kind,
            counts={**self.counts, "records": self.counts["records"], "images": images},
            records_sha256=sha256_file(self.path / RECORDS),
            config=self.config,
            config_sha256=self._folder.header["config_sha256"],
            versions={"vlmalign": metadata.version("vlmalign")},
            notes=self.notes,
            data_use=self.data_use,  # type: ignore[arg-type]  # pydantic checks the value
        )

    def __enter__(self) -> DatasetBuild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self.finished:
            release(self._journal)
