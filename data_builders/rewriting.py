"""Having a language model rewrite reports; what it wrote is verified by `rewrites.py` before it is used."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_builders.judges.asking import Ask, JudgeAnswer, JudgeItem, JudgeReply, JudgeRequest
from data_builders.judges.fence import make_fence
from data_builders.judges.template import load_template
from data_builders.rewrites import REWRITE_OF
from data_builders.writer import OpenAsk
from vlmalign.records import Candidate, DatasetBuild, Demonstration, RecordFolder, Sampling, assistant, user

PROMPT = str(Path(__file__).parent / "writer_prompts" / "rewrite.j2")


class Rewriting(BaseModel):
    """How reports are rewritten."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manner: str = Field("in plain full sentences", min_length=1, description="how: `Rewrite the report below ...`")
    template: str | None = Field(None, description="a file of your own that ends in .j2; default: the shipped one")
    samples: int = Field(1, ge=1, description="rewrites of each report")
    temperature: float = Field(0.0, ge=0, description="of the writer's sampling; 0 is greedy")
    max_tokens: int = Field(512, gt=0, description="a longer rewrite is cut, and a cut rewrite is none")
    at_once: int = Field(8, gt=0, description="reports in work")

    @field_validator("template")
    @classmethod
    def _template_loads(cls, name: str | None) -> str | None:
        load_template(name or PROMPT)
        return name

    def request(self, text: str, sample: int = 0) -> JudgeRequest:
        """The request for one report; the report is fenced, as a text that another model may have written."""
        template = load_template(self.template or PROMPT)
        shown = make_fence([text]).block("REPORT", text)
        return JudgeRequest(
            messages=(user(template.render({"manner": self.manner, "text": shown})),),
            images=(),
            prompt=template.id,
            sample=sample,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )


async def rewrite(item: JudgeItem, ask: Ask, rewriting: Rewriting, *, sample: int = 0) -> JudgeReply:
    """Have one report rewritten.

    Args:
        item: its first answer is the report.
        ask: how a model is asked.
        rewriting: how it is told to.
        sample: number of the sample.
    """
    return await ask(rewriting.request(item.answers[0].messages[0].text, sample))


def write_rewrites(
    demonstrations: str | Path,
    out: str | Path,
    ask: OpenAsk,
    *,
    writer: str,
    rewriting: Rewriting | None = None,
    overwrite: bool = False,
) -> Path:
    """Write rewrites of reports as candidates, to be verified by `verify_rewrites`. Resumable.

    Args:
        demonstrations: the reports; conversations are left out.
        out: the Candidate folder.
        ask: opens a way to ask the model, see `open_writer`, which checks whether the data may be sent there.
        writer: id of the model, for the config.
        rewriting: manner, samples, limits.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `sources`, `conversations` and replies by state (`replies_answered`,
        `replies_cut`, `replies_refused`, `replies_failed`); only whole answers are candidates.

    Raises:
        DataError: a folder that cannot be used.
    """
    settings = rewriting or Rewriting()
    folder = RecordFolder(demonstrations, Demonstration)
    config = {
        "builder": "write_rewrites@1",
        "demonstrations": folder.sha256,
        "writer": writer,
        "rewriting": settings.model_dump(mode="json", exclude={"at_once", "template"}),
        "prompt": load_template(settings.template or PROMPT).sha256,
    }
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "candidate", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            asyncio.run(_write(build, folder, ask, settings))
    return build.path


async def _write(
    build: DatasetBuild, folder: RecordFolder[Demonstration], opened: OpenAsk, settings: Rewriting
) -> None:
    async with opened() as ask:
        await _write_all(build, folder, ask, settings)


async def _write_all(
    build: DatasetBuild, folder: RecordFolder[Demonstration], ask: Ask, settings: Rewriting
) -> None:
    waiting = (record for record in folder if not build.has(record.id))
    while some := list(islice(waiting, settings.at_once)):
        written = await asyncio.gather(*(_replies(record, ask, settings) for record in some))
        for record, replies in zip(some, written, strict=True):
            counts = Counter(f"replies_{reply.state}" for reply in replies)
            counts.update(sources=1, conversations=int(not replies))
            rewrites = [
                _candidate(record, reply, sample, settings)
                for sample, reply in enumerate(replies)
                if reply.state == "answered" and reply.text.strip()
            ]
            build.commit(record.id, rewrites, +counts)


async def _replies(record: Demonstration, ask: Ask, settings: Rewriting) -> list[JudgeReply]:
    if len(record.response) != 1:
        return []
    item = JudgeItem(record.id, record.case_id, record.prompt, (), (JudgeAnswer(record.id, record.response),))
    return [await rewrite(item, ask, settings, sample=sample) for sample in range(settings.samples)]


def _candidate(record: Demonstration, reply: JudgeReply, sample: int, settings: Rewriting) -> Candidate:
    return Candidate(
        id=f"{record.id}/written-{sample}",
        case_id=record.case_id,
        group_id=record.group_id,
        messages=(assistant(reply.text.strip()),),
        policy=reply.model or "unnamed",
        sampling=Sampling(temperature=settings.temperature, max_new_tokens=settings.max_tokens, sample=sample),
        seed=sample,
        tokens=reply.completion_tokens,
        extra={REWRITE_OF: record.id},
    )
