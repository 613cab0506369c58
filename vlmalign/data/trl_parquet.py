"""Preference pairs as one Parquet file that TRL's trainers read as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlmalign.data.formats.files import write_rows
from vlmalign.data.formats.trl import messages
from vlmalign.records import DataError, Preference, RecordFolder
from vlmalign.records.writing import replacing


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
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial:
        write_rows(
            (_row(opened, record) for record in opened),
            partial,
            "parquet",
            schema=_features(datasets).arrow_schema,
        )
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
        "prompt": messages(record.prompt),
        "chosen": messages(record.chosen),
        "rejected": messages(record.rejected),
        **{k: getattr(record, k) for k in ("id", "case_id", "group_id", "split", "source", "margin", "weight")},
        "image_refs": [json.dumps(ref.model_dump(exclude_defaults=True), sort_keys=True) for ref in record.images],
    }
