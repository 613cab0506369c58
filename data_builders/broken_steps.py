"""Multi-turn preference pairs in which the rejected conversation breaks one named step of the path.

The questions of a domain form a path: the answer to one limits the answers to others (Dr-LLaVA's valid and invalid
answer paths, arXiv:2405.19567). Here both conversations ask the same questions in the same order; one answer of
the rejected one leaves the path, and every other turn is the same word for word. So the difference of both is the
worth of that one step, whatever reward is asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_builders.candidate_pairs import Known
from data_builders.demonstrations import DEFAULT_ORDERS, ORDERS
from data_builders.knowledge import FindingFolders, knowledge_of
from data_builders.loop import commit_each
from data_builders.reading import conversation_prompt
from data_builders.statements import difference, read_turns, with_text
from vlmalign.clinical import Logic, is_consistent, render_answer, render_conversation
from vlmalign.clinical.schema import BankName
from vlmalign.records import Case, ChangedClaim, DatasetBuild, Message, Preference, RecordFolder
from vlmalign.records.hashing import derive_seed

JUDGE = "broken_step@1"


class BrokenStepConfig(BaseModel):
    """Which steps are broken, of which conversations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    breaks: Literal["logic", "any"] = Field(
        "logic",
        description="logic: no valid path holds all answers of the rejected conversation; any: wrong is enough",
    )
    orders: dict[str, float] = Field(
        default_factory=lambda: dict(DEFAULT_ORDERS), description="share of each order of questions"
    )
    conversations_per_case: int = Field(1, ge=1, description="differently worded and ordered conversations")
    steps_per_conversation: int = Field(1, ge=1, description="pairs of one conversation, each with another step")
    concepts: tuple[str, ...] = Field((), description="break only these steps; default: all")
    seed: int = Field(0, ge=0, description="of wording, order, step and value")
    bank: BankName = Field("train", description="which paraphrases")

    @field_validator("orders")
    @classmethod
    def _orders_are_known(cls, orders: dict[str, float]) -> dict[str, float]:
        if not orders or not set(orders) <= set(ORDERS) or min(orders.values()) < 0 or sum(orders.values()) <= 0:
            raise ValueError(f"orders is {orders}: give shares of {list(ORDERS)}, not negative and not all zero")
        return orders


@dataclass(frozen=True)
class BrokenStep:
    """A conversation with one wrong step.

    Attributes:
        concept: whose question is answered wrongly.
        before: the value of the path.
        after: the value that is answered.
        turn: place of the answer among the answer's messages.
        shows_at: place of the turn with which no valid path is left; None: the answers stay possible.
        messages: the conversation after its first question.
    """

    concept: str
    before: str
    after: str
    turn: int
    shows_at: int | None
    messages: tuple[Message, ...]


def break_steps(
    logic: Logic,
    prompt: tuple[Message, ...],
    messages: tuple[Message, ...],
    *,
    seed: int,
    breaks: Literal["logic", "any"] = "logic",
    concepts: tuple[str, ...] = (),
    bank: BankName = "train",
) -> Iterator[BrokenStep]:
    """One broken conversation of each step that can be broken, in a drawn order.

    Args:
        logic: the domain's clinical logic.
        prompt: ends on the first question.
        messages: the true conversation: answers, with the further questions between.
        seed: of the order of steps, of value and wording.
        breaks: `logic` only where no valid path holds all answers afterwards; `any`: wherever another value is.
        concepts: only these steps; default all.
        bank: which paraphrases.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> logic = load_logic("peripheral_smear")
        >>> talk = render_conversation(logic, {"leukocyte": "absent", "leukocyte_kind": "not_applicable"}, seed=0)
        >>> found = list(break_steps(logic, talk[:1], talk[1:], seed=0))
        >>> sorted((step.concept, step.turn, step.shows_at) for step in found)
        [('leukocyte', 0, 2), ('leukocyte_kind', 2, 2)]
    """
    turns = [(turn, asked) for turn, _, asked in read_turns(logic, prompt, messages) if asked is not None]
    said = {
        asked: parsed.answers[asked]
        for _, parsed, asked in read_turns(logic, prompt, messages)
        if asked is not None and asked in parsed.answers
    }
    rng = random.Random(derive_seed(seed, "step"))
    rng.shuffle(turns)
    for turn, concept in turns:
        if concept not in said or concepts and concept not in concepts:
            continue
        values = [value for value in logic.concepts[concept].values if value != said[concept]]
        rng.shuffle(values)
        for value in values:
            if breaks == "logic" and is_consistent(logic, {**said, concept: value}):
                continue
            text = render_answer(logic, concept, value, seed=derive_seed(seed, concept), bank=bank)
            broken = with_text(messages, turn, text)
            read = difference(logic, prompt, messages, broken)
            if read.only_claims and read.claims == {concept: (said[concept], value)}:
                shows = _shows_at(logic, prompt, broken)
                yield BrokenStep(concept, said[concept], value, turn, shows, broken)
                break


def _shows_at(logic: Logic, prompt: tuple[Message, ...], messages: tuple[Message, ...]) -> int | None:
    """The turn with which the answers so far agree with no valid path any more."""
    said: dict[str, str] = {}
    for turn, parsed, _ in read_turns(logic, prompt, messages):
        said |= parsed.answers
        if not is_consistent(logic, said):
            return turn
    return None


def build_broken_steps(
    cases: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    findings: FindingFolders | Literal["reference"] = "reference",
    steps: BrokenStepConfig | None = None,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write multi-turn Preferences: the conversation on the path over the same with one wrong step.

    `provenance.broken_step` says which: the `turn` among the messages, which `question` it answers (from 0), the
    `concept`, and `shows_at`, the turn with which the answers so far agree with no valid path any more (in an
    order with the conclusion first this comes after the wrong step). All other turns are the same.

    Args:
        cases: Case folder.
        out: the Preference folder (`source="symbolic"`, `changed_claim` set).
        logic: the domain's clinical logic.
        findings: "reference" for the findings inside the cases, or an expert's Finding folder(s).
        steps: which steps, orders, how many.
        min_probability: how sure an expert's finding must be.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `cases`, `cases_without_knowledge`, `uncertain_concepts`,
        `conversations`, `conversations_without_breakable_step`, and pairs by `order:NAME` and `step:CONCEPT`.

    Raises:
        ValueError: a concept that the logic does not have.
        DataError: a folder that cannot be used.
    """
    settings = steps or BrokenStepConfig()
    for concept in settings.concepts:
        logic.concept(concept)
    folder = RecordFolder(cases, Case)
    knowledge = knowledge_of(logic, findings, min_probability=min_probability)
    config = {
        "builder": JUDGE,
        "cases": folder.sha256,
        "answers": knowledge.identity,
        "logic": logic.fingerprint,
        "steps": settings.model_dump(mode="json"),
        "min_probability": min_probability,
    }
    writer = _Writer(logic, settings)
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            commit_each(build, folder, lambda case: writer.of_case(case, knowledge(case)))
    return build.path


@dataclass(frozen=True)
class _Writer:
    """Turns one case into its pairs."""

    logic: Logic
    settings: BrokenStepConfig

    def of_case(self, case: Case, known: Known) -> tuple[list[Preference], Mapping[str, int]]:
        counts: Counter[str] = Counter(cases=1, **known.left_open)
        if not known.answers:
            counts["cases_without_knowledge"] = 1
            return [], +counts
        pairs: list[Preference] = []
        for number in range(self.settings.conversations_per_case):
            pairs += self._conversation(case, known, number, counts)
        return pairs, +counts

    def _conversation(self, case: Case, known: Known, number: int, counts: Counter[str]) -> list[Preference]:
        settings = self.settings
        seed = derive_seed(settings.seed, case.id, "broken_steps", number)
        order: Any = random.Random(seed).choices(list(settings.orders), list(settings.orders.values()))[0]
        turns = render_conversation(self.logic, known.answers, seed=seed, order=order, bank=settings.bank)
        prompt, answer = conversation_prompt(case, turns[0].text), turns[1:]
        found = break_steps(
            self.logic, prompt, answer, seed=seed, breaks=settings.breaks, concepts=settings.concepts,
            bank=settings.bank,
        )  # fmt: skip
        pairs: list[Preference] = []
        for step, _ in zip(found, range(settings.steps_per_conversation), strict=False):
            pairs.append(_pair(case, known, prompt, answer, step, f"{number}-{len(pairs)}", order))
            counts.update({f"order:{order}": 1, f"step:{step.concept}": 1})
        counts["conversations"] += 1
        counts["conversations_without_breakable_step"] += not pairs
        return pairs


def _pair(
    case: Case,
    known: Known,
    prompt: tuple[Message, ...],
    answer: tuple[Message, ...],
    step: BrokenStep,
    name: str,
    order: str,
) -> Preference:
    told = {"turn": step.turn, "question": step.turn // 2, "concept": step.concept, "shows_at": step.shows_at}
    return Preference(
        id=f"{case.id}/broken-{name}",
        case_id=case.id,
        group_id=case.group_id,
        split=case.split,
        images=case.images,
        prompt=prompt,
        chosen=answer,
        rejected=step.messages,
        changed_claim=ChangedClaim(concept=step.concept, chosen=step.before, rejected=step.after),
        source="symbolic",
        expert_ids=known.experts,
        judge_ids=(JUDGE,),
        provenance={"broken_step": told, "order": order, "known": dict(sorted(known.answers.items()))},
    )
