"""By what records contain: duplicates, what evaluation holds as well, and the balance of classes."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_builders.named_values import value_of
from data_builders.protected import PictureHashes, Protected, protected_by
from vlmalign.records import DataError, Record, RecordFolder
from vlmalign.records.hashing import derive_seed
from vlmalign.records.near_pictures import NearPictures

Same = Literal["record", "picture", "text"]
TURNS = ("messages", "prompt", "chosen", "rejected", "response")
MOST_PROTECTED = ("test", "validation", "train")


class ContentRules(BaseModel):
    """Which records are kept by their content; applied after rules of length and reward, in this order."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    leakage: Literal["drop", "refuse"] = Field(
        "drop", description="what becomes of records that share a group or a picture with evaluation"
    )
    across_splits: bool = Field(
        False,
        description="no group and no picture in two splits of the folder: test keeps it before validation, that "
        "before train",
    )
    groups: bool = Field(True, description="whether a shared group is leakage, or a shared picture only")
    duplicates: tuple[Same, ...] = Field(
        (),
        description="drop a record after an earlier one that is the same: record (pictures and texts), picture "
        "(any of its pictures), text (texts, whatever the picture)",
    )
    max_bits: int = Field(
        0, ge=0, le=31, description="pictures are the same up to so many bits of their hash; 0: equal files only"
    )
    balance: str | None = Field(
        None, description="the value whose classes are balanced, see named_values.value_of"
    )
    balance_by: Literal["sample", "weight"] = Field(
        "sample", description="drop from large classes, or weigh them less"
    )
    balance_ratio: float = Field(1.0, ge=1, description="the largest class counts at most this times the smallest")
    seed: int = Field(0, description="of the sample")

    @model_validator(mode="after")
    def _something_to_say(self) -> Self:
        if len(set(self.duplicates)) < len(self.duplicates):
            raise ValueError(f"duplicates is {list(self.duplicates)}: name each once")
        return self

    @property
    def given(self) -> bool:
        """Whether a rule is set, apart from folders to compare with."""
        return self.across_splits or bool(self.duplicates) or self.balance is not None


class Contents:
    """Applies content rules to the records of a folder, one after the other.

    Args:
        folder: of the records.
        rules: the rules.
        against: folders of evaluation, of any kind.

    Raises:
        DataError: a folder cannot be read.
    """

    def __init__(self, folder: RecordFolder[Any], rules: ContentRules, against: Sequence[str | Path] = ()) -> None:
        self.folder = folder
        self.rules = rules
        self._hashes = PictureHashes(folder) if rules.max_bits else None
        self._outside = [protected_by(other, rules.max_bits) for other in against]
        self._splits = self._by_split() if rules.across_splits else {}
        self._near = NearPictures(rules.max_bits) if rules.max_bits and rules.duplicates else None
        self._seen: dict[bytes, int] = {}  # kind and 128 bits of what is the same -> line of the first

    def _by_split(self) -> dict[str, Protected]:
        splits = {name: Protected(f"split {name}", self.rules.max_bits) for name in MOST_PROTECTED[:2]}
        for record in self.folder:
            if protected := splits.get(getattr(record, "split", "")):
                protected.add(record, self._hashes)
        return splits

    def find(self, record: Record, number: int) -> tuple[str | None, dict[str, Any]]:
        """Why a record goes, None if it stays, and the figures of that.

        Args:
            record: that other rules keep.
            number: its line in the folder, from 1.

        Raises:
            DataError: it leaks, and leakage is to be refused.
        """
        for protected in self._of_others(record):
            shared = protected.shares(record, self._hashes, groups=self.rules.groups)
            if shared is None:
                continue
            if self.rules.leakage == "refuse":
                raise DataError(
                    f"the {shared[0]} {shared[1]} is also in {protected.name}",
                    "Split by group before anything is built from the cases, or drop such records with --leakage "
                    "drop.",
                    file=self.folder.path,
                    record=record.id,
                    field="group_id" if shared[0] == "group" else "images",
                )
            return f"shares_{shared[0]}", {shared[0]: shared[1], "with": protected.name}
        return self._duplicate(record, number)

    def _of_others(self, record: Record) -> Iterable[Protected]:
        yield from self._outside
        split = getattr(record, "split", "")
        if self._splits and split in MOST_PROTECTED:
            for name in MOST_PROTECTED[: MOST_PROTECTED.index(split)]:
                yield self._splits[name]

    def _duplicate(self, record: Record, number: int) -> tuple[str | None, dict[str, Any]]:
        keys = {kind: self._keys(record, kind) for kind in self.rules.duplicates}
        for kind, some in keys.items():
            for key in some:
                if (earlier := self._seen.get(kind.encode() + key)) is not None:
                    return f"duplicate_{kind}", {"duplicate_of_line": earlier}
        for kind, some in keys.items():
            for key in some:
                self._seen[kind.encode() + key] = number
        return None, {}

    def _keys(self, record: Record, kind: Same) -> list[bytes]:
        if kind == "text":
            return [_digest(_texts(record))]
        pictures = [self._picture(ref) for ref in getattr(record, "images", ())]
        if kind == "picture":
            return [_digest([picture]) for picture in dict.fromkeys(pictures)]
        return [_digest([*pictures, *_texts(record)])]

    def _picture(self, ref: Any) -> str:
        """What a picture is known by: its own hash, or that of the first near one."""
        if self._near is None or self._hashes is None:
            return str(ref.sha256)
        own = self._hashes.of(ref)
        found = self._near.find(own)
        if found is None:
            self._near.add(own, ref.sha256)
        return found or str(ref.sha256)


def _texts(record: Record) -> list[str]:
    """All texts of a record, letter case and white space apart."""
    turns = [turn for name in TURNS for turn in getattr(record, name, ())]
    return [f"{turn.role}: {' '.join(turn.text.casefold().split())}" for turn in turns]


def _digest(parts: Sequence[str]) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Balance:
    """Counts the classes of the records that are left, and says what becomes of the large ones.

    Args:
        rules: with `balance`.
    """

    def __init__(self, rules: ContentRules) -> None:
        assert rules.balance is not None
        self.rules = rules
        self._members: dict[str, array[int]] = {}
        self._keys: dict[str, array[int]] = {}
        self.without = 0

    def class_of(self, record: Record) -> str | None:
        """The record's class; None where it has no such value."""
        return value_of(record, str(self.rules.balance))

    def add(self, record: Record, number: int) -> None:
        """Count a record that is left."""
        name = self.class_of(record)
        if name is None:
            self.without += 1
            return
        self._members.setdefault(name, array("q")).append(number)
        self._keys.setdefault(name, array("q")).append(derive_seed("balance", self.rules.seed, record.id))

    def limit(self, folder: Path) -> int:
        """How many of one class may count.

        Raises:
            DataError: there are fewer than two classes.
        """
        if len(self._members) < 2:
            found = ", ".join(map(repr, self._members)) or "no value at all"
            raise DataError(
                f"there is nothing to balance: {self.rules.balance} has {found} in the {self.total} records left",
                "Name another value with --balance.",
                file=folder,
                field=self.rules.balance,
            )
        return int(self.rules.balance_ratio * min(map(len, self._members.values())))

    @property
    def total(self) -> int:
        """How many records were counted."""
        return self.without + sum(map(len, self._members.values()))

    def surplus(self, limit: int) -> dict[int, str]:
        """Numbers of the records that go, with their class: a seeded sample of each class beyond the limit."""
        gone: dict[int, str] = {}
        for name, members in self._members.items():
            if len(members) > limit:
                order = np.argsort(np.frombuffer(self._keys[name], dtype=np.int64), kind="stable")
                gone |= {members[place]: name for place in order[limit:]}
        return gone

    def factors(self, limit: int) -> dict[str, float]:
        """What the weights of each class are multiplied by, at most 1."""
        return {name: min(1.0, limit / len(members)) for name, members in self._members.items()}
