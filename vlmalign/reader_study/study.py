"""The files of a study: a public part that readers may see, and the key that undoes the blinding.

STUDY/public/study.json       forms, questions, and the SHA-256 of the key: nobody can change it later unnoticed
STUDY/public/images/*.png     the pictures, re-encoded
STUDY/private/key.json        which text is whose
STUDY/private/cases/          the cases as they were, for the records that an import writes
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from vlmalign.reader_study.plan import Purpose, StudyPlan
from vlmalign.records import DataError, Message
from vlmalign.records.base import Part
from vlmalign.records.hashing import config_hash, sha256_bytes

PUBLIC, PRIVATE = "public", "private"
STUDY_FILE, KEY_FILE, CASES, IMAGES = "study.json", "key.json", "cases", "images"
FORMAT: Literal["vlmalign-reader-study@1"] = "vlmalign-reader-study@1"
KEY_FORMAT: Literal["vlmalign-reader-key@1"] = "vlmalign-reader-key@1"
ABBREVIATED = re.compile(r"\b(?:e\.g|i\.e|approx|resp|ca|cf|Dr|No|vs)\.\s+$")


class Questions(Part):
    """What is asked of each reading."""

    texts: Literal[1, 2]
    preference: Literal[0, 3, 5]
    criteria: tuple[str, ...]
    mark_errors: bool
    comment: bool
    guess: str | None = Field(None, description="the question of the last readings")


class Reading(Part):
    """One screen: the images, the prompt, and one or two texts, each cut into sentences."""

    id: str
    session: int = Field(0, ge=0, description="part of the study; a washout lies between two")
    kind: Literal["rate", "guess"] = "rate"
    images: tuple[str, ...]
    prompt: str
    texts: tuple[tuple[str, ...], ...] = Field(description="left, then right; joined, the sentences are the text")


class ReaderForm(Part):
    """All readings of one reader, in order."""

    reader: str
    readings: tuple[Reading, ...]

    @property
    def version(self) -> str:
        """Hash of what the reader sees: answers to another version are refused.

        The letter keeps spreadsheets from reading it as a number.
        """
        return "v" + config_hash(self.model_dump(mode="json"))[:16]


class PublicStudy(Part):
    """What may be seen by everybody: nothing in it depends on an arm but the texts themselves."""

    format: Literal["vlmalign-reader-study@1"] = FORMAT
    study: str
    title: str
    instructions: str
    questions: Questions
    washout_days: int
    forms: tuple[ReaderForm, ...]
    key_sha256: str = Field(description="commitment to the key, made before anybody read")

    def form(self, reader: str) -> ReaderForm | None:
        """The form of a reader, or None."""
        return next((form for form in self.forms if form.reader == reader), None)


class KeyText(Part):
    """A text, and whose it is."""

    arm: str
    messages: tuple[Message, ...]
    policy: str


class KeyItem(Part):
    """One comparison (or one text alone) of one case."""

    case_id: str
    record: str = Field(description="id in private/cases")
    group_id: str
    texts: tuple[str, ...] = Field(description="candidate ids, in the order of the arms")
    pair_id: str | None = Field(None, description="of the preference pair that it came from")


class KeyReading(Part):
    """What a reading really is."""

    reader: str
    item: str
    kind: Literal["rate", "guess"]
    session: int
    repeat: bool = False
    shown: tuple[str, ...] = Field(description="candidate ids: left, then right")


class Key(Part):
    """Undoes the blinding. Must not reach a reader before the study is closed."""

    format: Literal["vlmalign-reader-key@1"] = KEY_FORMAT
    study: str
    secret: str
    purpose: Purpose
    arms: tuple[str, ...]
    guess_arm: str | None = None
    plan: StudyPlan
    inputs: dict[str, Any] = Field(description="hashes of the folders that it was made from")
    counts: dict[str, int] = Field(description="cases used, and those left out, by reason")
    data_use: str = "open"
    texts: dict[str, KeyText]
    items: dict[str, KeyItem]
    readings: dict[str, KeyReading]


def opaque(secret: str, prefix: str, *parts: Any) -> str:
    """A name that tells nothing: HMAC-SHA256 of the parts under the study's secret.

    The prefix, a letter, keeps spreadsheets from reading a name as a number.

    Example:
        >>> opaque("s", "r", 1) == opaque("s", "r", 1) != opaque("t", "r", 1)
        True
    """
    return prefix + hmac.new(bytes(secret, "utf-8"), repr(parts).encode(), "sha256").hexdigest()[:12]


def sentences(text: str) -> tuple[str, ...]:
    r"""Cut a text into sentences, nothing lost: joined they are the text again.

    Example:
        >>> sentences("Heart 1.5 cm wider, e.g. left. No effusion!\n- Clear lungs")
        ('Heart 1.5 cm wider, e.g. left. ', 'No effusion!\n', '- Clear lungs')
    """
    parts, start = [], 0
    for match in re.finditer(r"[.!?]+[\"')\]]*\s+|\n+", text):
        piece = text[start : match.end()]
        if ABBREVIATED.search(piece) or re.fullmatch(r"\s*\d+\.\s+", piece) or not piece.strip():
            continue
        parts.append(piece)
        start = match.end()
    if start < len(text):
        if text[start:].strip() or not parts:
            parts.append(text[start:])
        else:
            parts[-1] += text[start:]
    return tuple(parts) or ("",)


def to_bytes(part: Part) -> bytes:
    """Canonical JSON with a line break at its end."""
    return (json.dumps(part.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()


def read_public(study: str | Path) -> PublicStudy:
    """Read the public part of a study folder.

    Raises:
        DataError: no study is there, or its file is damaged.
    """
    file = Path(study) / PUBLIC / STUDY_FILE
    return _read(file, PublicStudy, "Name a folder that `vlmalign reader-study design` wrote.")


def read_key(
    study: str | Path, key: str | Path | None = None, remedy: str = "Give the key's place with --key."
) -> Key:
    """Read the key and check it against the commitment in the public part.

    Args:
        study: the study folder.
        key: the key's file, where it is kept elsewhere.
        remedy: where no key is there.

    Raises:
        DataError: the key is missing, damaged, of another study, or not the one committed to.
    """
    file = Path(key) if key is not None else Path(study) / PRIVATE / KEY_FILE
    public = read_public(study)
    found = _read(file, Key, remedy)
    if found.study != public.study:
        raise DataError(
            f"this is the key of study {found.study!r}, the folder holds study {public.study!r}",
            "Give the key that was written with this study.",
            file=file,
        )
    if sha256_bytes(file.read_bytes()) != public.key_sha256:
        raise DataError(
            f"the key is not the one that the study committed to: its SHA-256 is not {public.key_sha256}",
            "It was changed after the design: restore the original.",
            file=file,
        )
    return found


def refuse_others(folder: Path, ours: Callable[[Path], bool]) -> None:
    """Refuse to replace a folder in which somebody put files of their own, such as readers' answers.

    Args:
        folder: to be replaced.
        ours: whether a path within it is of a file that was written by this program.

    Raises:
        DataError: names the first such file.
    """
    if not folder.is_dir():
        return
    found = sorted(p.relative_to(folder) for p in folder.rglob("*") if not p.is_dir())
    others = [path for path in found if not ours(path)]
    if others:
        raise DataError(
            f"{len(others)} file{'s' * (len(others) != 1)} in it were put there by somebody, e.g. {others[0]}: "
            "the folder would be replaced as a whole",
            "Move them elsewhere, or choose another --out.",
            file=folder,
        )


def _read(file: Path, kind: type[Any], remedy: str) -> Any:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise DataError("no such file", remedy, file=file) from None
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or None
        raise DataError(first["msg"], "Restore the file.", file=file, field=field) from None
