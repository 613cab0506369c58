"""`vlmalign build corruptions`: pairs that clinical logic makes of true texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmalign.cli.build import app, known_from, logic_of
from vlmalign.cli.commands import stage_command
from vlmalign.cli.settings import make_settings


@stage_command(app, "corruptions", shards=True)
def corruptions(
    texts: Path,
    out: Path,
    logic: str,
    cases: Path | None = None,
    findings: Sequence[Path] = (),
    from_reference: bool = False,
    corruption: dict[str, Any] | None = None,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Hard negatives: a true text over the same with one named claim flipped, added, dropped or contradicted."""
    from data_builders.corruption_pairs import CorruptionConfig, build_corruptions

    if from_reference and cases is None:
        _refuse_without_cases(texts)
    build_corruptions(
        texts, out, logic=logic_of(logic), cases=cases, findings=known_from(findings, from_reference),
        corruption=make_settings(CorruptionConfig, corruption or {}, where="corruption"),
        min_probability=min_probability, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "broken-steps", shards=True)
def broken_steps(
    cases: Path,
    out: Path,
    logic: str,
    findings: Sequence[Path] = (),
    steps: dict[str, Any] | None = None,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Pairs of conversations, the rejected one with one step off the path; by findings, or the reference."""
    from data_builders.broken_steps import BrokenStepConfig, build_broken_steps

    build_broken_steps(
        cases, out, logic=logic_of(logic), findings=list(findings) or "reference",
        steps=make_settings(BrokenStepConfig, steps or {}, where="steps"),
        min_probability=min_probability, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "rewrites")
def rewrites(
    demonstrations: Path,
    rewrites: Path,
    out: Path,
    logic: str,
    allow_unread: int = 0,
    per_text: int = 1,
    overwrite: bool = False,
) -> None:
    """Keep the rewrites of demonstrations that say the same claim by claim; refused.jsonl lists the others."""
    from data_builders.rewrites import verify_rewrites

    verify_rewrites(
        demonstrations, rewrites, out, logic=logic_of(logic), allow_unread=allow_unread, per_text=per_text,
        overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "write-rewrites")
def write_rewrites(
    demonstrations: Path,
    out: Path,
    writer: dict[str, Any] | None = None,
    rewriting: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Let a language model rewrite reports; `build rewrites` then verifies what it wrote."""
    from data_builders.rewriting import Rewriting
    from data_builders.rewriting import write_rewrites as run

    name, ask = _writer(writer, demonstrations)
    settings = make_settings(Rewriting, rewriting or {}, where="rewriting")
    run(demonstrations, out, ask, writer=name, rewriting=settings, overwrite=overwrite)


@stage_command(app, "write-questions")
def write_questions(
    texts: Path,
    out: Path,
    logic: str,
    writer: dict[str, Any] | None = None,
    writing: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Let a language model write questions and answers from true texts, and keep those that are verified."""
    from data_builders.question_writing import QuestionWriting
    from data_builders.question_writing import write_questions as run

    name, ask = _writer(writer, texts)
    settings = make_settings(QuestionWriting, writing or {}, where="writing")
    run(texts, out, ask, logic=logic_of(logic), writer=name, writing=settings, overwrite=overwrite)


def _writer(settings: dict[str, Any] | None, folder: Path) -> Any:
    from data_builders.writer import WriterConfig, open_writer
    from vlmalign.records import read_manifest

    if not settings:
        raise ValueError(
            "writer is not given: name the model, e.g. --set writer.model.backend=openai "
            "--set writer.model.model=NAME --set writer.model.base_url=URL --set writer.cache=FOLDER"
        )
    config = make_settings(WriterConfig, settings, where="writer")
    return open_writer(config, {folder: read_manifest(folder).data_use})


def _refuse_without_cases(texts: Path) -> None:
    """Cases with reports hold their findings themselves; other texts need the folder of their cases."""
    from vlmalign.records import read_manifest

    if (kind := read_manifest(texts).kind) != "case":
        raise ValueError(
            f"from_reference is given and cases are not: {texts} holds {kind} records, and the reference findings "
            "are those of their cases. Pass the folder of cases too: --cases FOLDER."
        )
