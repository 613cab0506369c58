"""Preference pairs as one Parquet file that TRL's trainers read as it is."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlmalign.records import DataError, Message, Preference, RecordFolder


def export_trl_parquet(folder: str | Path, out: str | Path) -> Path:
    """Write a preference folder with TRL's vision preference columns, images embedded.

    Columns: `images` (the `datasets` Image feature, bytes embedded), `prompt`, `chosen`, `rejected`
    (message lists with typed parts); and `id`, `case_id`, `group_id`, `split`, `source`, `margin`, `weight`,
    `image_refs` (JSON), which TRL ignores.

    Args:
        folder: of preferences.
        out: the file; replaced whole if it exists.

    Returns:
        The file's path.

    Raises:
        DataError: a pair whose answers have several turns; TRL's columns hold one assistant message each.
    """
    import datasets

    opened = RecordFolder(folder, Preference)
    out = Path(out)
    rows = [_row(opened, record) for record in opened]
    columns = {name: [row[name] for row in rows] for name in _features(datasets)}
    table = datasets.Dataset.from_dict(columns, features=_features(datasets))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    with _no_progress_bar(datasets):
        table.to_parquet(str(partial))
    os.replace(partial, out)
    return out


def _features(datasets: Any) -> Any:
    text = datasets.Value("string")
    turns = datasets.List({"role": text, "content": datasets.List({"type": text, "text": text})})
    number = datasets.Value("float64")
    return datasets.Features(
        images=datasets.List(datasets.Image()),
        prompt=turns,
        chosen=turns,
        rejected=turns,
        id=text,
        case_id=text,
        group_id=text,
        split=text,
        source=text,
        margin=number,
        weight=number,
        image_refs=datasets.List(text),
    )


def _row(folder: RecordFolder[Preference], record: Preference) -> dict[str, Any]:
    for name in ("chosen", "rejected"):
        if (turns := len(getattr(record, name))) != 1:
            raise DataError(
                f"the answer has {turns} turns; TRL's preference columns hold one assistant message",
                "Export single-turn pairs only.",
                file=folder.path,
                record=record.id,
                field=name,
            )
    return {
        "images": [{"bytes": folder.resolve(ref).read_bytes(), "path": None} for ref in record.images],
        "prompt": list(_turns(record.prompt)),
        "chosen": list(_turns(record.chosen)),
        "rejected": list(_turns(record.rejected)),
        **{k: getattr(record, k) for k in ("id", "case_id", "group_id", "split", "source", "margin", "weight")},
        "image_refs": [json.dumps(ref.model_dump(exclude_defaults=True), sort_keys=True) for ref in record.images],
    }


def _turns(messages: tuple[Message, ...]) -> Iterator[dict[str, Any]]:
    for message in messages:
        parts = [{"type": part.type, "text": getattr(part, "text", None)} for part in message.content]
        yield {"role": message.role, "content": parts}


@contextlib.contextmanager
def _no_progress_bar(datasets: Any) -> Iterator[None]:
    was_off = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not was_off:
            datasets.enable_progress_bars()
