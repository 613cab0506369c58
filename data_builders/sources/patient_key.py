"""The key that turns patient identifiers into the pseudonyms of a dataset, kept outside its folder.

Whoever holds both the key and the folder can test guesses of an identifier, so the two never lie in one place.
Folders built with one key give one patient one pseudonym: the leakage check can compare them.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from pathlib import Path

from vlmalign.records import DataError
from vlmalign.records.hashing import pseudonym
from vlmalign.records.journal import JOURNAL, holds_entries
from vlmalign.records.manifest import MANIFEST
from vlmalign.records.shards import active_shard

SUFFIX = ".key"
LEAST_BYTES = 16
NOTE = (
    "group_id is a pseudonym keyed with the content of a file outside of this folder (default: <folder>.key "
    "beside "
    "it). Build other folders of the same patients with the same key (key_file), so that they can be compared."
)


class PatientKey:
    """A secret, and the pseudonyms that it makes.

    A new secret is written when the first case is (`keep`): a build that fails before leaves no key behind.

    Args:
        path: where the secret lies, or will.
        secret: its bytes.
        kept: whether it lies there.

    Example:
        >>> key = PatientKey(Path("cases.key"), b"sixteen bytes or more")
        >>> key.pseudonym("patient", "7") == key.pseudonym("patient", "7") != key.pseudonym("patient", "8")
        True
    """

    def __init__(self, path: Path, secret: bytes, kept: bool = True) -> None:
        self.path = path
        self._secret = secret
        self._kept = kept
        self._noted: set[str] | None = None  # lines of the file of names

    def keep(self) -> None:
        """Write the secret to its file, unless it is there; before anything that was made with it.

        Raises:
            DataError: another process wrote a key there in the meantime.
        """
        if self._kept:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = self._secret + b"\n"
        try:
            with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
                if file.write(line) < len(line):  # a full disk: half a key would make other pseudonyms
                    self.path.unlink()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(file.fileno())
        except FileExistsError:
            raise DataError(
                "another process made a key here in the meantime", "Run the same command again.", file=self.path
            ) from None
        self._kept = True

    def pseudonym(self, kind: str, identifier: str) -> str:
        """16 hexadecimal digits for an identifier; one number means another thing for another `kind`."""
        return pseudonym(f"{kind}\0{identifier}", self._secret)

    @property
    def fingerprint(self) -> str:
        """Tells keys apart without telling them: part of a source's config."""
        return self.pseudonym("key", "fingerprint")

    @property
    def names_file(self) -> Path:
        """Beside the key: the true names of files that were skipped, which may hold identifiers."""
        return self.path.with_name(self.path.name + ".names.jsonl")

    def note_name(self, file: str, reason: str) -> str:
        """Write a skipped file's true name and reason beside the key; returns the pseudonym to write instead."""
        self.keep()
        name = self.pseudonym("file", file)
        line = json.dumps({"name": name, "file": file, "reason": reason}, ensure_ascii=False, sort_keys=True)
        if self._noted is None:
            there = self.names_file.exists()
            self._noted = set(self.names_file.read_text("utf-8").splitlines()) if there else set()
        if line not in self._noted:
            file_number = os.open(self.names_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with open(file_number, "a", encoding="utf-8") as lines:
                lines.write(line + "\n")
            self._noted.add(line)
        return name


def patient_key(out: str | Path, key_file: str | Path | None = None, *, overwrite: bool = False) -> PatientKey:
    """The key of a dataset folder: from `key_file`, else `<out>.key` beside it, made at the first build and kept
    with the first case.

    Args:
        out: the dataset folder.
        key_file: a file with at least 16 bytes of secret; it must exist.
        overwrite: whether the folder is to be replaced: then a lost key may be made anew.

    Raises:
        ValueError: a shard is built and `key_file` is not given.
        DataError: the key would lie inside the folder, does not exist, is too short, or was lost while the folder
            is there.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp())
        >>> one = patient_key(place / "cases")
        >>> one.keep()
        >>> one.fingerprint == patient_key(place / "cases").fingerprint, one.path.name
        (True, 'cases.key')
    """
    folder = Path(out).resolve()
    path = folder.with_name(folder.name + SUFFIX) if key_file is None else Path(key_file).expanduser().resolve()
    if path.is_relative_to(folder):
        raise DataError(
            "the key lies inside the dataset folder, where it would travel with the pseudonyms",
            "Keep it elsewhere: --set key_file=PATH, or leave it out for a file beside the folder.",
            file=path,
        )
    if active_shard() is not None and key_file is None:
        raise ValueError(
            "a shard is built and key_file is not given: the shards of one build need one key. Write a secret, "
            "e.g. `openssl rand -hex 32 > FILE`, and give it to each: --set key_file=FILE"
        )
    if not path.is_file():
        if key_file is not None:
            raise DataError(
                "no such key file",
                "Check the path, or leave key_file out: one is made beside the folder.",
                file=path,
            )
        if folder.is_dir() and any(folder.iterdir()) and not overwrite:
            begun = (folder / JOURNAL).exists()
            if not (folder / MANIFEST).exists() and not begun:
                raise DataError(
                    "the folder is not empty and is not a dataset folder", "Choose another --out.", file=folder
                )
            if (folder / MANIFEST).exists() or holds_entries(folder / JOURNAL):
                raise DataError(
                    "the folder was built with a key that is not here any more, and a new one would give other "
                    "pseudonyms",
                    "Restore it, name it with --set key_file=PATH, or pass --overwrite to build with a new one.",
                    file=path,
                )
        return PatientKey(path, secrets.token_hex(32).encode(), kept=False)
    secret = path.read_bytes().strip()
    if len(secret) < LEAST_BYTES:
        raise DataError(
            f"the key has {len(secret)} bytes, at least {LEAST_BYTES} are required: short keys can be guessed",
            "Write a longer one, e.g. `openssl rand -hex 32 > FILE`.",
            file=path,
        )
    return PatientKey(path, secret)
