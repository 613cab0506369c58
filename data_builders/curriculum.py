"""A curriculum: annotations as questions and answers of growing difficulty, in named parts, in an order.

RetinaVLM (arXiv:2407.08410) trained on attributes first and on specialists' reasoning after. Here part after part
is a Demonstration folder of its own, and `curriculum.json` says in which order `vlmalign sft` is to learn them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from data_builders.curriculum_config import CurriculumConfig, CurriculumPart
from data_builders.curriculum_questions import PartQuestions
from data_builders.curriculum_table import Row, read_table
from data_builders.demonstrations import build_demonstrations
from vlmalign.clinical import load_logic
from vlmalign.records import DataError, DatasetBuild, Demonstration, RecordFolder, assistant, read_manifest, user
from vlmalign.records.base import Part
from vlmalign.records.hashing import config_hash, sha256_bytes, sha256_file
from vlmalign.records.image import check_relative
from vlmalign.records.writing import write_atomic

CURRICULUM = "curriculum.json"


class PartEntry(Part):
    """One part in the list of a curriculum."""

    name: str
    folder: str = Field(description="of the demonstrations, relative to the curriculum")
    about: str = ""
    records: int
    records_sha256: str


class Curriculum(Part):
    """What `curriculum.json` says: the parts in the order in which they are learnt."""

    parts: tuple[PartEntry, ...]
    config_sha256: str


def build_curriculum(config: CurriculumConfig, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the parts of a curriculum. Resumable: a killed build continues with the part it was in.

    A question about the table never holds its answer, and yes is as often right as no for every item and split.
    What a cell does not say is not asked.

    In a shard (`vlmalign.records.shards`) every part holds its share. Merge the shards of each part, and call this
    once more, undivided: it finds the parts complete, and writes `curriculum.json`.

    Args:
        config: table, attributes, parts.
        out: folder; `part-1-NAME`, `part-2-NAME` ... and `curriculum.json` are written into it.
        overwrite: replace parts that were built with other settings.

    Returns:
        The folder. The manifest of a part of questions counts `images_seen`, questions by form, `yes`, `no`,
        `missing:ATTRIBUTE` (images whose cell is empty), `left_out_for_balance:ATTRIBUTE`.

    Raises:
        DataError: a table, image or folder that cannot be used; nothing is written.
        ValueError: settings that do not go together.
    """
    out = Path(out)
    rows = [] if config.table is None else read_table(config.table, config.attributes)
    logics = {part.name: load_logic(part.logic.logic) for part in config.parts if part.logic is not None}
    entries = []
    for number, part in enumerate(config.parts, start=1):
        folder = out / f"part-{number}-{part.name}"
        if part.demonstrations is not None:
            _take_over(part.demonstrations, folder, overwrite)
        elif part.logic is None:
            _build_questions(config, part, rows, folder, overwrite)
        else:
            build_demonstrations(
                part.logic.cases,
                folder,
                logic=logics[part.name],
                kinds=part.logic.kinds,
                findings="reference" if part.logic.findings == "reference" else None,
                orders=part.logic.orders,
                conversations_per_case=part.logic.conversations_per_case,
                seed=config.seed,
                overwrite=overwrite,
            )
        manifest = read_manifest(folder)
        entries.append(
            PartEntry(
                name=part.name,
                folder=folder.name,
                about=part.about,
                records=manifest.counts["records"],
                records_sha256=manifest.records_sha256,
            )
        )
    told = Curriculum(parts=tuple(entries), config_sha256=config_hash(_identity(config)))
    text = json.dumps(told.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path = out / CURRICULUM
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomic(path, text.encode())
    return out


def read_curriculum(folder: str | Path) -> Curriculum:
    """The list of a curriculum's parts, checked against the folders.

    Raises:
        DataError: no complete curriculum is here, or a part is another one than when it was completed.
    """
    path = Path(folder) / CURRICULUM
    if not path.is_file():
        raise DataError(f"no {CURRICULUM} is here", "Build it: `vlmalign build curriculum`.", file=folder)
    found = Curriculum.model_validate_json(path.read_bytes())
    for part in found.parts:
        own = Path(folder) / check_relative(part.folder)
        if read_manifest(own).records_sha256 != part.records_sha256:
            raise DataError("the part was built anew since", "Build the curriculum again.", file=own)
    return found


def _identity(config: CurriculumConfig) -> dict[str, Any]:
    """What decides the content, without places."""
    content = config.model_dump(mode="json", exclude={"table": {"path", "images", "key_file"}})
    if config.table is not None:
        content["table"]["sha256"] = sha256_file(config.table.path)
    return content


def _take_over(source: str, folder: Path, overwrite: bool) -> None:
    """Copy demonstrations, so that a curriculum is whole wherever it is moved."""
    given = RecordFolder(source, Demonstration)
    config = {"builder": "curriculum@1", "demonstrations": given.sha256}
    manifest = given.manifest
    with DatasetBuild(
        folder, "demonstration", config, overwrite=overwrite, notes=manifest.notes, data_use=manifest.data_use
    ) as build:
        mine = build.part(len(given))
        for number, record in enumerate(() if build.finished else given):
            if number in mine and not build.has(record.id):
                for image in record.images:
                    build.adopt(image, given.path)
                build.commit(record.id, [record])


def _build_questions(
    config: CurriculumConfig, part: CurriculumPart, rows: list[Row], folder: Path, overwrite: bool
) -> None:
    assert config.table is not None
    identity = _identity(config)
    used = {question.attribute for question in part.questions}
    settings = {
        "builder": "curriculum@1",
        "part": part.model_dump(mode="json"),
        "table": identity["table"],
        "key": config.table.key_file and sha256_bytes(Path(config.table.key_file).read_bytes())[:8],
        "attributes": {name: content for name, content in identity["attributes"].items() if name in used},
        "seed": config.seed,
    }
    questions = PartQuestions(config, part, rows)
    grouped = "a patient (keyed pseudonym)" if config.table.group else "an image; whose it is, is unknown"
    notes = {"grouping": f"A group is {grouped}."}
    data_use = config.table.data_use
    with DatasetBuild(
        folder, "demonstration", settings, overwrite=overwrite, notes=notes, data_use=data_use
    ) as build:
        if build.finished:
            return
        for number in build.part(len(rows)):
            if build.has((row := rows[number]).id):
                continue
            asked, counts = questions.of_row(row)
            if number == 0:  # of the part as a whole, so once
                counts.update({f"left_out_for_balance:{a}": n for a, n in questions.left_out.items() if n})
            image = build.add_image(row.path, modality=config.table.modality) if asked else None
            records = [
                Demonstration(
                    id=f"{row.id}/{part.name}-{one.name}",
                    case_id=row.id,
                    group_id=row.group_id,
                    split=row.split,
                    images=(image,) if image else (),
                    prompt=(user(one.question, images=1),),
                    response=(assistant(one.answer),),
                    source="table",
                    provenance={"part": part.name, **one.told},
                )
                for one in asked
            ]
            build.commit(row.id, records, counts)
