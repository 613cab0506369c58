"""LLaMA-Factory's ranking rows (sharegpt), with the entry of `dataset_info.json` that names their columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlmalign.data.formats.llava import TAGS, conversation, images_of
from vlmalign.data.formats.placeholders import count, plain_answer, text_of, turns_of
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Normalisation, Read, Row, Spot, rest_of
from vlmalign.data.formats.shared_normalisations import always_a_list, image_places, line_breaks, only
from vlmalign.records import DataError, Message

INFO = "dataset_info.json"
NAME = "vlmalign"
ANSWERS = ("chosen", "rejected")
COLUMNS = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images",
           "system": "system"}  # fmt: skip
DEFAULT_TAGS = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt",
                "system_tag": "system"}  # fmt: skip


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A ranking row with the standard columns; see `standard` for others."""
    if row.get("kto_tag") is not None:
        raise spot.error("kto_tag", "this is a row for KTO, one answer with a tag; a pair has two answers")
    for name in ("videos", "audios"):
        if row.get(name):
            return LeftOut(name.removesuffix("s"))
    images = images_of(row, spot, "images")
    turns = turns_of(row.get("conversations"), spot, "conversations", TAGS, "from", "value")
    if turns[-1].role != "user":
        raise spot.error("conversations", "the conversation does not end on a turn of 'human'")
    count(turns, len(images), spot, "conversations")
    if row.get("system"):
        turns.insert(0, Message(role="system", content=({"type": "text", "text": row["system"]},)))  # type: ignore[arg-type]
    fields: Row = {"prompt": tuple(turns)}
    for name in ANSWERS:
        (answer,) = turns_of([row.get(name)], spot, name, {"gpt": "assistant"}, "from", "value")
        if answer.n_images:
            raise spot.error(name, "an answer holds <image>")
        fields[name] = (answer,)
    return Read(fields, images, rest_of(row, ("conversations", *ANSWERS, "images", "system")))


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A pair as a ranking row."""
    prompt = record.prompt
    system = {"system": text_of(prompt[0])} if prompt[0].role == "system" else {}
    return {
        "conversations": conversation(prompt[len(system) :], "prompt"),
        **{
            name: {"from": "gpt", "value": plain_answer(getattr(record, name), name, placeholders=True)}
            for name in ANSWERS
        },
        **({"images": images} if images else {}),
        **system,
        **rest,
    }


def entry_of(path: Path, name: str | None) -> tuple[Path, Mapping[str, Any]]:
    """The file of rows that a `dataset_info.json` names, and its entry.

    Args:
        path: the folder that holds it.
        name: of the data set; may be left out where there is one ranking.

    Raises:
        DataError: no such entry, several, or one of another formatting.
    """
    file = path / INFO
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"not valid JSON ({error})", "Correct it, or name the file of rows.", file=file) from None
    if not isinstance(entries, dict):
        raise DataError("expected a mapping of data sets", "Correct it, or name the file of rows.", file=file)
    rankings = [key for key, entry in entries.items() if isinstance(entry, dict) and entry.get("ranking")]
    if name is None and len(rankings) != 1:
        rule = f"{len(rankings)} entries are rankings ({', '.join(map(str, rankings)) or 'none'})"
        raise DataError(rule, "Name one with --dataset.", file=file)
    chosen = rankings[0] if name is None else name
    if chosen not in rankings:
        rule = f"{chosen!r} is no ranking here: {', '.join(map(str, rankings)) or 'there is none'}"
        raise DataError(rule, "Name another with --dataset, or set ranking: true in its entry.", file=file)
    entry = entries[chosen]
    if entry.get("formatting", "alpaca") != "sharegpt":
        rule = f"the entry has formatting {entry.get('formatting', 'alpaca')!r}; images need 'sharegpt'"
        raise DataError(rule, "Write it again as sharegpt.", file=file, record=chosen, field="formatting")
    rows = (path / str(entry.get("file_name", ""))).resolve()
    if not rows.is_relative_to(path.resolve()) or not rows.is_file():
        rule = f"the file of rows, {entry.get('file_name')!r}, is not below this folder"
        raise DataError(rule, "Put it there.", file=file, record=chosen, field="file_name")
    return rows, entry


def standard(row: Row, entry: Mapping[str, Any]) -> Row:
    """A row with the standard column names and tags, from one with those of its entry."""
    columns = {**COLUMNS, **entry.get("columns", {})}
    tags = {**DEFAULT_TAGS, **entry.get("tags", {})}
    theirs = {columns[key]: COLUMNS[key] for key in COLUMNS}
    result = {theirs.get(name, name): value for name, value in row.items()}
    if tags == DEFAULT_TAGS:
        return result
    roles = {tags[key]: DEFAULT_TAGS[key] for key in ("user_tag", "assistant_tag", "system_tag")}

    def turn(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        role = value.get(tags["role_tag"])
        return {"from": roles.get(role, role), "value": value.get(tags["content_tag"])}

    if isinstance(result.get("conversations"), list):
        result["conversations"] = [turn(value) for value in result["conversations"]]
    return {**result, **{name: turn(result[name]) for name in ANSWERS if name in result}}


def _system(row: Row, place: Callable[[Any], Any]) -> Row:
    turns = row["conversations"]
    if turns[0]["from"] != "system":
        return row
    return {**row, "system": turns[0]["value"], "conversations": turns[1:]}


FORMAT = Format(
    name="llama-factory",
    about="LLaMA-Factory's rankings (sharegpt, with dataset_info.json)",
    kind="preference",
    container="json",
    read=read,
    write=write,
    normalisations=(
        NULLS,
        always_a_list("images"),
        image_places("images"),
        *(only(name, ("from", "value")) for name in ("conversations", *ANSWERS)),
        line_breaks("conversations", "value"),
        Normalisation("system", "a system turn moves to the column `system`", _system),
    ),
    beside={
        INFO: {
            NAME: {
                "file_name": "rows.json",
                "formatting": "sharegpt",
                "ranking": True,
                "columns": COLUMNS,
                "tags": DEFAULT_TAGS,
            }
        }
    },  # fmt: skip
)
