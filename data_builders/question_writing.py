"""Questions and answers that a language model writes from true texts, each verified by the clinical logic."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from data_builders.judges.asking import Ask, JudgeReply, JudgeRequest
from data_builders.judges.fence import make_fence
from data_builders.judges.template import load_template
from data_builders.reading import read_answer
from data_builders.true_texts import TrueText, TrueTexts
from data_builders.writer import OpenAsk
from vlmalign.clinical import Logic, parse_text
from vlmalign.clinical.parser import parse_turn, question_concept
from vlmalign.clinical.schema import RESERVED
from vlmalign.records import DatasetBuild, Demonstration, assistant, user

PROMPT = str(Path(__file__).parent / "writer_prompts" / "questions.j2")
Verdict = Literal[
    "kept",
    "unreadable",
    "refers_to_text",
    "claims_nothing",
    "not_in_source",
    "says_otherwise",
    "leaks",
    "duplicate",
]
_PAIR = re.compile(r"^Q:[ \t]*(\S.*?)\s*\nA:[ \t]*(\S.*?)\s*(?=\n\s*\n|\nQ:|\Z)", re.M | re.S)
# what RetinaVLM's reader of generated questions drops too: an answer about the text is none about the image
_OF_TEXT = re.compile(r"\b(descri(bed|ption)|mention(s|ed)?|specified|report(s|ed)?|text|stated)\b", re.I)


class QuestionWriting(BaseModel):
    """How questions are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(6, ge=1, description="questions of each text")
    subject: str = Field("a medical image", description="what the texts describe")
    temperature: float = Field(0.0, ge=0, description="of the writer's sampling; 0 is greedy")
    max_tokens: int = Field(1024, gt=0, description="a longer reply is cut, and a cut reply is none")
    at_once: int = Field(8, gt=0, description="texts in work")

    def request(self, text: str) -> JudgeRequest:
        """The request for one text, which is fenced."""
        template = load_template(PROMPT)
        shown = make_fence([text]).block("DESCRIPTION", text)
        prompt = template.render({"n": self.n, "subject": self.subject, "text": shown})
        return JudgeRequest(
            (user(prompt),), (), template.id, temperature=self.temperature, max_tokens=self.max_tokens
        )


@dataclass(frozen=True)
class WrittenQuestion:
    """A question with its answer, and what became of it."""

    question: str
    answer: str
    verdict: Verdict


def verify_questions(logic: Logic, known: Mapping[str, str], reply: str) -> list[WrittenQuestion]:
    r"""Read a writer's reply and hold every answer against what is known.

    Kept is an answer whose claims are all known and right, and at least one. A plain `yes` or `no` is read as
    saying so of what its question claims. A question that states its own answer otherwise than to be affirmed or
    denied `leaks`.

    Args:
        logic: the domain's clinical logic.
        known: what is true, concept -> value.
        reply: lines `Q: ...` and `A: ...` in turn.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> reply = "Q: Is a leukocyte seen?\nA: No.\nQ: How many platelets are seen?\nA: Many platelets."
        >>> known = {"leukocyte": "absent", "platelets": "few"}
        >>> [w.verdict for w in verify_questions(load_logic("peripheral_smear"), known, reply)]
        ['kept', 'says_otherwise']
    """
    found = _PAIR.findall(reply.strip())
    if not found:
        return [WrittenQuestion("", reply.strip(), "unreadable")]
    written: list[WrittenQuestion] = []
    for question, answer in found:
        same = any(question.lower() == other.question.lower() for other in written)
        verdict: Verdict = "duplicate" if same else _verdict(logic, known, question, answer)
        written.append(WrittenQuestion(question, answer, verdict))
    return written


def _verdict(logic: Logic, known: Mapping[str, str], question: str, answer: str) -> Verdict:
    if _OF_TEXT.search(answer) or _OF_TEXT.search(question):
        return "refers_to_text"
    asked = parse_text(logic, question.rstrip("? ") + ".").answers
    short = re.fullmatch(r"(yes|no)\W*", answer, re.I)
    if short:
        concept = question_concept(logic, question)
        claims = {} if concept is None else parse_turn(logic, concept, answer).answers
        if claims:
            return _held(known, claims)
        if len(asked) != 1:
            return "claims_nothing"
        ((name, value),) = asked.items()
        if name not in known or value in RESERVED:
            return "not_in_source"
        return "kept" if (known[name] == value) == (short[1].lower() == "yes") else "says_otherwise"
    concept = question_concept(logic, question) or next(iter(asked), None)
    said = (parse_text(logic, answer) if concept is None else parse_turn(logic, concept, answer)).answers
    if not said:
        return "claims_nothing"
    affirms = re.match(r"(yes|no)\b", answer, re.I)
    if (
        not affirms
        and question_concept(logic, question) is None
        and any(said.get(c) == v for c, v in asked.items())
    ):
        return "leaks"
    return _held(known, said)


def _held(known: Mapping[str, str], claims: Mapping[str, str]) -> Verdict:
    if any(concept not in known for concept in claims):
        return "not_in_source"
    return "kept" if all(known[concept] == value for concept, value in claims.items()) else "says_otherwise"


def write_questions(
    texts: str | Path,
    out: str | Path,
    ask: OpenAsk,
    *,
    logic: Logic,
    writer: str,
    writing: QuestionWriting | None = None,
    overwrite: bool = False,
) -> Path:
    """Write Demonstrations of questions that a model wrote from reports and that were verified. Resumable.

    Args:
        texts: demonstrations of reports, or cases with reports; conversations are left out.
        out: the Demonstration folder; a part of a curriculum may name it.
        ask: opens a way to ask the model, see `open_writer`, which checks whether the data may be sent there.
        logic: the domain's clinical logic.
        writer: id of the model, for the config.
        writing: how many, of what.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `texts`, `left_out` (no report, a conversation, no claim), replies by
        state, questions by verdict (`kept`, `unreadable`, `refers_to_text`, `claims_nothing`, `not_in_source`,
        `says_otherwise`, `leaks`, `duplicate`), and of the kept `yes` and `no`.

    Raises:
        DataError: a folder that cannot be used.
    """
    settings = writing or QuestionWriting()
    given = TrueTexts(texts)
    config = {
        "builder": "write_questions@1",
        **given.identity,
        "logic": logic.fingerprint,
        "writer": writer,
        "writing": settings.model_dump(mode="json", exclude={"at_once"}),
        "prompt": load_template(PROMPT).sha256,
    }
    with DatasetBuild(out, "demonstration", config, overwrite=overwrite, data_use=given.data_use) as build:
        if not build.finished:
            asyncio.run(_write(build, given, ask, logic, settings))
    return build.path


async def _write(
    build: DatasetBuild, texts: TrueTexts, opened: OpenAsk, logic: Logic, settings: QuestionWriting
) -> None:
    async with opened() as ask:
        await _write_all(build, texts, ask, logic, settings)


async def _write_all(
    build: DatasetBuild, texts: TrueTexts, ask: Ask, logic: Logic, settings: QuestionWriting
) -> None:
    waiting = (text for text in texts if not build.has(text.id))
    while some := list(islice(waiting, settings.at_once)):
        replies = await asyncio.gather(*(_reply(text, ask, logic, settings) for text in some))
        for text, reply in zip(some, replies, strict=True):
            records, counts = _records(text, reply, logic)
            if records:
                text.adopt_images(build)
            build.commit(text.id, records, counts)


def _known(logic: Logic, text: TrueText) -> dict[str, str]:
    said = read_answer(logic, text.prompt, text.messages).parsed.answers
    return {concept: value for concept, value in said.items() if value not in RESERVED}


async def _reply(text: TrueText, ask: Ask, logic: Logic, settings: QuestionWriting) -> JudgeReply | None:
    if len(text.messages) != 1 or not _known(logic, text):
        return None
    return await ask(settings.request(text.messages[0].text))


def _records(
    text: TrueText, reply: JudgeReply | None, logic: Logic
) -> tuple[Sequence[Demonstration], Counter[str]]:
    if reply is None:
        return [], Counter(texts=1, left_out=1)
    counts: Counter[str] = Counter({"texts": 1, f"replies_{reply.state}": 1})
    records: list[Demonstration] = []
    for written in verify_questions(logic, _known(logic, text), reply.text) if reply.state == "answered" else ():
        counts[written.verdict] += 1
        if written.verdict != "kept":
            continue
        polarity = re.match(r"(yes|no)\b", written.answer, re.I)
        if polarity:
            counts[polarity[1].lower()] += 1
        records.append(
            Demonstration(
                id=f"{text.id}/question-{len(records)}",
                case_id=text.case_id,
                group_id=text.group_id,
                split=text.split,
                images=text.images,
                prompt=(user(written.question, images=len(text.images)),),
                response=(assistant(written.answer),),
                source="written",
                provenance={"text": text.id, "writer": reply.model or "unnamed"},
            )
        )
    return records, counts
