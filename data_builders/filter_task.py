"""Writing what a filter keeps, and the list of what it does not, in two readings of the folder.

Every record that is dropped is a line of `dropped.jsonl` beside the records: its id, all rules that it broke, and
the figures by which. The manifest counts it once, under the first of them, and holds the rules. The first reading
decides and remembers the dropped ones and a number for each other; the second writes.
"""

from __future__ import annotations

import json
import math
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel

from data_builders.content_rules import Balance, ContentRules, Contents
from data_builders.named_values import check_name
from vlmalign.records import Case, DataError, DatasetBuild, Demonstration, Preference, RecordFolder
from vlmalign.records.file_presence import file_names
from vlmalign.records.hashing import sha256_bytes
from vlmalign.records.manifest import Kind, read_manifest, strictest
from vlmalign.records.scores import Scores
from vlmalign.records.writing import write_atomic

DROPPED = "dropped.jsonl"
UNSCORED = "unscored"
ROUNDING = 1e-9

Filtered = TypeVar("Filtered", Case, Preference, Demonstration)


@dataclass
class Decision:
    """What becomes of one record.

    Attributes:
        reasons: rules that it breaks; empty: it is kept.
        figures: what decided, as `dropped.jsonl` tells it.
        rank: by which shares are taken, the higher the better; None: unscored.
    """

    reasons: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    rank: float | None = None


@dataclass(frozen=True)
class Share:
    """Of the scored records the upper share, rounded up, is kept; of equals the earlier.

    Attributes:
        share: how much.
        reason: why the others go.
        of_all: whether records that other rules drop count as well.
    """

    share: float
    reason: str
    of_all: bool = False


@dataclass(frozen=True)
class Task(Generic[Filtered]):
    """A folder and what its records are filtered by."""

    folder: RecordFolder[Filtered]
    kind: Kind
    judge: Callable[[Filtered], Decision]
    share: Share | None
    rules: BaseModel | None
    scores: Scores | None
    contents: ContentRules | None
    against: Sequence[str | Path]


def run_task(task: Task[Filtered], out: str | Path, overwrite: bool) -> Path:
    """Write what is kept, and the list of what is not.

    Raises:
        ValueError: there is no rule, or a class balance that the kind of record cannot have.
    """
    _check(task)
    outcome = _Outcome(task)
    folder = task.folder
    scores: Scores | None = task.scores
    dropped = b"".join(outcome.dropped[number].line for number in sorted(outcome.dropped))
    config: dict[str, Any] = {
        "builder": "filter@1",
        f"{task.kind}s": folder.sha256,
        "judged": None if scores is None else scores.sha256,
        "judge": None if scores is None else scores.judge,
        "criterion": None if scores is None else scores.criterion,
        "rules": None if task.rules is None else task.rules.model_dump(),
    }
    manifests = [read_manifest(other) for other in task.against]
    if task.contents is not None:
        config["contents"] = task.contents.model_dump(mode="json")
        config["against"] = [manifest.records_sha256 for manifest in manifests]
    told = f"{DROPPED} lists the {len(outcome.dropped)} records that were dropped, and why; SHA-256 "
    notes = {**folder.manifest.notes, "dropped": told + sha256_bytes(dropped)}
    data_use = strictest([folder.manifest.data_use, *([] if scores is None else [scores.data_use])])
    with DatasetBuild(out, task.kind, config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if not build.finished:
            for number, record in enumerate(folder, start=1):
                if not build.has(record.id):
                    outcome.commit(build, record, number)
        if not build.finished or not (build.path / DROPPED).is_file():
            write_atomic(build.path / DROPPED, dropped)
    return build.path


def _check(task: Task[Any]) -> None:
    contents = task.contents
    if task.rules is None and not task.against and (contents is None or not contents.given):
        raise ValueError(
            "no rule is given: set a limit, duplicates, across_splits, balance, or folders to compare with"
        )
    if task.against and contents is None:
        raise ValueError("against is given without contents: pass ContentRules()")
    if contents is None or contents.balance is None:
        return
    check_name(contents.balance, task.folder.record_type)
    if contents.balance_by == "weight" and "weight" not in task.folder.record_type.model_fields:
        raise ValueError(f"balance_by is 'weight', and {task.kind} records have no weight: use 'sample'")


class _Dropped(NamedTuple):
    """A dropped record: why in the first place, and its line of `dropped.jsonl`."""

    reason: str
    line: bytes


def _dropped(name: str, decision: Decision) -> _Dropped:
    line = {"id": name, "reasons": decision.reasons, **decision.figures}
    text = json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"
    return _Dropped(sys.intern(decision.reasons[0]), text.encode())


class _Outcome(Generic[Filtered]):
    """What becomes of every record: the dropped ones, and by number what the others need."""

    def __init__(self, task: Task[Filtered]) -> None:
        self.task: Task[Filtered] = task
        self.dropped: dict[int, _Dropped] = {}
        self.kept_unscored: set[int] = set()
        self.factors: dict[str, float] = {}
        self._ranks = array("d")  # by number; no number: unscored
        self._free = bytearray()  # whether a share may take the record
        self.balance = Balance(task.contents) if task.contents and task.contents.balance else None
        self._decide()
        if task.share is not None:
            self._keep_share(task.share)
        if self.balance is not None:
            self._balance(self.balance)

    def _decide(self) -> None:
        task: Task[Filtered] = self.task
        contents = None if task.contents is None else Contents(task.folder, task.contents, task.against)
        for number, record in enumerate(task.folder, start=1):
            decision = task.judge(record)
            if contents is not None and not decision.reasons:
                reason, figures = contents.find(record, number)
                if reason is not None:
                    decision.reasons.append(reason)
                    decision.figures |= figures
            self._ranks.append(math.nan if decision.rank is None else decision.rank)
            self._free.append(not decision.reasons or (task.share is not None and task.share.of_all))
            if decision.reasons:
                self.dropped[number] = _dropped(record.id, decision)
            elif UNSCORED in decision.figures:
                self.kept_unscored.add(number)

    def _keep_share(self, share: Share) -> None:
        ranks = np.frombuffer(self._ranks, dtype=np.float64) if self._ranks else np.zeros(0)
        free = np.frombuffer(bytes(self._free), dtype=np.uint8).astype(bool) & ~np.isnan(ranks)
        places = np.flatnonzero(free)
        order = places[np.argsort(-ranks[places], kind="stable")]
        gone = {int(place) + 1 for place in order[math.ceil(share.share * len(order) - ROUNDING) :]}
        if not gone:
            return
        for number, record in enumerate(self.task.folder, start=1):
            if number in gone:
                decision = self.task.judge(record)
                if number in self.dropped:
                    told = json.loads(self.dropped[number].line)
                    decision = Decision(told.pop("reasons"), {key: told[key] for key in told if key != "id"})
                decision.reasons.append(share.reason)
                self.dropped[number] = _dropped(record.id, decision)

    def _balance(self, balance: Balance) -> None:
        for number, record in enumerate(self.task.folder, start=1):
            if number not in self.dropped:
                balance.add(record, number)
        limit = balance.limit(self.task.folder.path)
        if balance.rules.balance_by == "weight":
            self.factors = balance.factors(limit)
            return
        surplus = balance.surplus(limit)
        for number, record in enumerate(self.task.folder, start=1):
            if number in surplus:
                found = {"class": surplus[number], "class_limit": limit}
                self.dropped[number] = _dropped(record.id, Decision(["class_balance"], found))

    def commit(self, build: DatasetBuild, record: Filtered, number: int) -> None:
        """Write a record, or count why it is not written."""
        counts: Counter[str] = Counter(given=1)
        if number in self.dropped:
            reason = self.dropped[number].reason
            build.commit(record.id, [], counts + Counter({"dropped": 1, f"dropped:{reason}": 1}))
            return
        for image in record.images:
            build.adopt(image, self.task.folder.path)
        for name in dict.fromkeys(file_names(record)):  # masks of findings as well
            build.adopt_file(name, self.task.folder.path)
        counts["kept_unscored"] = number in self.kept_unscored
        if self.balance is not None:
            found = self.balance.class_of(record)
            counts["without_class"] = found is None
            factor = 1.0 if found is None else self.factors.get(found, 1.0)
            counts["weighed_less"] = factor < 1
            if factor < 1 and not isinstance(record, Case):
                record = record.model_copy(update={"weight": record.weight * factor})
        build.commit(record.id, [record], +counts)


def read_dropped(folder: str | Path) -> list[dict[str, Any]]:
    """What a filter dropped, in the order of the records: `id`, `reasons`, and the figures that decided.

    Raises:
        DataError: the folder was not written by a filter.
    """
    path = Path(folder) / DROPPED
    if not path.is_file():
        raise DataError("no dropped.jsonl is here", "Pass a folder that a filter wrote.", file=folder)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
