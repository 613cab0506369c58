"""From answers to language: sentences, reports and conversations, drawn from the logic's banks by seed.

Every draw depends on the seed, the concept and its value alone, so that changing one answer changes one
sentence.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal

from vlmalign.clinical.english import NUMBER_WORDS
from vlmalign.clinical.schema import CONTRADICTORY, HEDGED, UNCERTAIN, Bank, BankName, Logic
from vlmalign.records.case import Message, assistant, user
from vlmalign.records.hashing import derive_seed

Order = Literal["canonical", "impression_first", "shuffled"]


def render_sentence(
    logic: Logic, concept: str, value: str, *, seed: int, bank: BankName = "train", number: float | None = None
) -> str:
    """One report sentence that says `value` of `concept`.

    Args:
        logic: the domain.
        concept: its name.
        value: one of its values, or `uncertain` or `not_assessed`.
        seed: which paraphrase.
        bank: `train` or `test`.
        number: say this number instead, where the concept has numeric sentences and the number, as it would
            be rounded, is not zero and still in the value's band.

    Raises:
        ValueError: no such concept or value, or a number outside the value's band.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> logic = load_logic("peripheral_smear")
        >>> render_sentence(logic, "platelets", "few", seed=1, number=2)
        'Two platelets are seen.'
    """
    return _render(logic, concept, value, seed=seed, bank=bank, number=number, answer=False)


def render_answer(
    logic: Logic, concept: str, value: str, *, seed: int, bank: BankName = "train", number: float | None = None
) -> str:
    """One answer to the concept's question that says `value`; arguments as for `render_sentence`.

    Example:
        >>> from vlmalign.clinical import load_logic, parse_answer
        >>> logic = load_logic("peripheral_smear")
        >>> parse_answer(logic, "leukocyte", render_answer(logic, "leukocyte", "absent", seed=3))
        'absent'
    """
    return _render(logic, concept, value, seed=seed, bank=bank, number=number, answer=True)


def render_report(
    logic: Logic,
    answers: Mapping[str, str],
    *,
    seed: int,
    bank: BankName = "train",
    numbers: Mapping[str, float] | None = None,
) -> str:
    """A report: one sentence per answered concept, in canonical order.

    Args:
        logic: the domain.
        answers: concept to value; concepts left out are not spoken of.
        seed: which paraphrases.
        bank: `train` or `test`.
        numbers: concept to a number that is to be said.

    Raises:
        ValueError: no such concept or value, or no answer at all.

    Example:
        >>> from vlmalign.clinical import load_logic, parse_text
        >>> logic = load_logic("peripheral_smear")
        >>> answers = {"focus": "sharp", "platelets": "none"}
        >>> parse_text(logic, render_report(logic, answers, seed=0)).answers == answers
        True
    """
    names = _names(logic, answers)
    numbers = numbers or {}
    return " ".join(
        render_sentence(logic, name, answers[name], seed=seed, bank=bank, number=numbers.get(name))
        for name in names
    )


def render_conversation(
    logic: Logic,
    answers: Mapping[str, str],
    *,
    seed: int,
    order: Order = "canonical",
    bank: BankName = "train",
) -> tuple[Message, ...]:
    """Questions and answers in turn (user, assistant, user, ...), text only.

    Args:
        logic: the domain.
        answers: concept to value; only these are asked.
        seed: which paraphrases, and which order when shuffled.
        order: `canonical`; `impression_first` (derived concepts, then the others); or `shuffled`.
        bank: `train` or `test`.

    Raises:
        ValueError: no such concept, value or order, or no answer at all.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> turns = render_conversation(load_logic("peripheral_smear"), {"focus": "sharp"}, seed=0)
        >>> [turn.role for turn in turns]
        ['user', 'assistant']
    """
    turns: list[Message] = []
    for name in question_order(logic, _names(logic, answers), order=order, seed=seed):
        turns.append(user(question_text(logic, name, seed=seed, bank=bank)))
        turns.append(assistant(render_answer(logic, name, answers[name], seed=seed, bank=bank)))
    return tuple(turns)


def question_order(logic: Logic, concepts: Sequence[str], *, order: Order, seed: int = 0) -> tuple[str, ...]:
    """The concepts in the order in which a conversation asks them; see `render_conversation`."""
    names = [name for name in logic.order if name in concepts]
    if order == "impression_first":
        names.sort(key=lambda name: not logic.concepts[name].derived)
    elif order == "shuffled":
        random.Random(derive_seed(seed, "order")).shuffle(names)
    elif order != "canonical":
        raise ValueError(f"order is {order!r}: choose 'canonical', 'impression_first' or 'shuffled'")
    return tuple(names)


def question_text(logic: Logic, concept: str, *, seed: int, bank: BankName = "train") -> str:
    """The question that asks a concept.

    Raises:
        ValueError: no such concept or bank.
    """
    logic.concept(concept)
    question = next(q for q in logic.questions if q.concept == concept)
    return _draw(question.bank, bank, seed, "question", concept)


def report_prompt(logic: Logic, *, seed: int, bank: BankName = "train") -> str:
    """The request for a report.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> report_prompt(load_logic("peripheral_smear"), seed=0)
        'Describe this blood smear field.'
    """
    return _draw(logic.report_prompts, bank, seed, "report")


def _render(
    logic: Logic, concept: str, value: str, *, seed: int, bank: BankName, number: float | None, answer: bool
) -> str:
    logic.check_value(concept, value, reserved=True)
    if value == CONTRADICTORY:
        raise ValueError(f"{concept} is 'contradictory', which no sentence says: leave it out or give a value")
    described = logic.concepts[concept]
    if value in HEDGED:
        hedges = logic.hedges.uncertain if value == UNCERTAIN else logic.hedges.not_assessed
        return _draw(hedges, bank, seed, concept, value).replace("{name}", described.name)
    if number is not None:
        said = _number_sentence(logic, concept, value, number, seed, bank)
        if said is not None:
            return said
    wording = described.values[value]
    sentences = wording.answers if answer and wording.answers else wording.sentences
    return _draw(sentences, bank, seed, concept, value)


def _number_sentence(
    logic: Logic, concept: str, value: str, number: float, seed: int, bank: BankName
) -> str | None:
    measurement, numbers = logic.concepts[concept].measurement, logic.concepts[concept].numbers
    if measurement is None or numbers is None or numbers.sentences is None:
        return None
    if measurement.band(number) != value:
        raise ValueError(
            f"{concept} = {value!r} does not go with the number {number:g}, which means "
            f"{measurement.band(number)!r}: give the value that belongs to the number"
        )
    scale = 100 if numbers.percent else 1
    rounded = round(number * scale, numbers.decimals)
    if rounded == 0 or measurement.band(rounded / scale) != value:
        return None  # the words of the value are true, the rounded number would not be
    sentences = numbers.singular if rounded == 1 and numbers.singular else numbers.sentences
    said = f"{rounded:.{numbers.decimals}f} %" if numbers.percent else _say(rounded, numbers.decimals)
    sentence = _draw(sentences, bank, seed, concept, "number").replace("{n}", said)
    return sentence[0].upper() + sentence[1:]


def _say(number: float, decimals: int) -> str:
    if decimals == 0 and 0 <= number <= 10:
        return NUMBER_WORDS[int(number)]
    return f"{number:.{decimals}f}"


def _draw(bank: Bank, name: BankName, seed: int, *parts: str) -> str:
    sentences = bank.of(name)
    return sentences[derive_seed(seed, *parts) % len(sentences)]


def _names(logic: Logic, answers: Mapping[str, str]) -> list[str]:
    for concept, value in answers.items():
        logic.check_value(concept, value, reserved=True)
    if not answers:
        raise ValueError("answers is empty: a text needs at least one answered concept")
    return [name for name in logic.order if name in answers]
