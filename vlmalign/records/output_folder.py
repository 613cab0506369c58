"""May a build write in a folder, and what of it is done: new, complete, half-written, or another's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from vlmalign.records.errors import DataError
from vlmalign.records.hashing import config_hash, sha256_file
from vlmalign.records.journal import (
    JOURNAL,
    REPLACES,
    cut_torn_line,
    entries,
    header_of,
    holds_entries,
    open_locked,
    start,
)
from vlmalign.records.manifest import MANIFEST, Kind, Manifest, config_difference, read_manifest


class OutputFolder:
    """The folder of one build, told from other builds by the kind of its records and its settings.

    Args:
        path: where; may be absent.
        kind: which record type.
        config: everything that decides the content.
    """

    def __init__(self, path: Path, kind: Kind, config: Mapping[str, Any]) -> None:
        self.path = path
        self.kind = kind
        self.config = config
        self.header = {"kind": kind, "config_sha256": config_hash(config)}

    @property
    def journal(self) -> Path:
        """Where its journal lies while it is being written."""
        return self.path / JOURNAL

    def completed(self, overwrite: bool) -> Manifest | None:
        """The manifest, where this very build is complete; None where it is to be written.

        Raises:
            DataError: the folder is of another config or kind and not to be overwritten, or holds something else.
        """
        if not self.path.exists():
            return None
        if overwrite and self._holds_a_dataset():
            self._refuse_another_kind()
            return None
        if not self.path.is_dir():
            raise DataError("the output path is a file", "Choose another --out.", file=self.path)
        if (self.path / MANIFEST).exists():
            manifest = read_manifest(self.path)
            self._refuse_another_kind()  # --overwrite would not help
            if manifest.config_sha256 != self.header["config_sha256"]:
                raise DataError(
                    f"the folder is complete and was built as another {manifest.kind} dataset or with other "
                    f"settings ({config_difference(manifest.config, self.config)})",
                    "Choose another --out, or pass --overwrite to replace it.",
                    file=self.path,
                )
            return manifest
        if not self._holds_a_dataset():
            raise DataError(
                "the folder is not empty and is not a dataset folder", "Choose another --out.", file=self.path
            )
        return None

    def take_over(self, journal: TextIO, overwrite: bool) -> Iterator[dict[str, Any]]:
        """The units that the journal, which is ours, already holds; it is begun anew where it is of no use.

        Raises:
            DataError: it is of another build and not to be overwritten, or damaged.
        """
        cut_torn_line(self.journal)
        header = header_of(self.journal)
        complete = (self.path / MANIFEST).exists()
        same = self._is_same(header)
        if not same and holds_entries(self.journal) and not overwrite:
            raise DataError(
                "an unfinished build with other settings is here",
                "Choose another --out, or pass --overwrite to discard it.",
                file=self.journal,
                line=1,
            )
        if not same or complete and not self._replaces_present(header):
            replaces = {REPLACES: sha256_file(self.path / MANIFEST)} if complete else {}
            start(self.journal, journal, {**self.header, **replaces})
            return iter(())
        return entries(self.journal)

    def remove_leftover(self) -> None:
        """Delete the journal of this very build; that of an overwriting build still has its use."""
        if not self.journal.exists():
            return
        with suppress(DataError), open_locked(self.journal):  # refused: somebody is writing
            header = header_of(self.journal)
            if not header or self._is_same(header) and not self._replaces_present(header):
                self.journal.unlink()

    def _refuse_another_kind(self) -> None:
        """Overwrite is for the same step with other settings: no cases are lost to a mistyped --out of pairs."""
        if (self.path / MANIFEST).exists() and (there := read_manifest(self.path).kind) != self.kind:
            raise DataError(
                f"the folder holds {there} records, and this would write {self.kind} records over them",
                "Choose another --out, or remove the folder yourself.",
                file=self.path,
            )

    def _holds_a_dataset(self) -> bool:
        return (self.path / MANIFEST).exists() or self.journal.exists() or not any(self.path.iterdir())

    def _is_same(self, header: Mapping[str, Any]) -> bool:
        return {key: value for key, value in header.items() if key != REPLACES} == self.header

    def _replaces_present(self, header: Mapping[str, Any]) -> bool:
        """Whether a journal belongs to a build that was to replace the manifest that is still here."""
        return REPLACES in header and header[REPLACES] == sha256_file(self.path / MANIFEST)
