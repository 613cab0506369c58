"""Banks against the parser: it must read back what the generator writes."""

from __future__ import annotations

from typing import NoReturn

from vlmalign.clinical.generator import render_sentence
from vlmalign.clinical.lexicon import words
from vlmalign.clinical.parser import ParsedText, parse_answer, parse_text, question_concept
from vlmalign.clinical.schema import HEDGED, Bank, Concept, Logic
from vlmalign.records.errors import DataError


def fail(place: str, rule: str, remedy: str) -> NoReturn:
    """Raise the error for a broken rule at a dotted place."""
    raise DataError(rule, remedy, field=place)


def check_banks(logic: Logic) -> None:
    """Raise where a bank is not read back as it should be, or where its train and test sides share a sentence.

    Raises:
        DataError: with the dotted place in `field`.
    """
    for index, question in enumerate(logic.questions):
        _check_disjoint(question.bank, f"questions.{index}")
        for text in question.bank.all:
            if question_concept(logic, text) != question.concept:
                fail(f"questions.{index}", f"{text!r} also asks another concept", "Word one of them differently.")
    _check_disjoint(logic.report_prompts, "report_prompts")
    for name, concept in logic.concepts.items():
        place = f"concepts.{name}"
        for value, wording in concept.values.items():
            here = f"{place}.values.{value}"
            _check_bank(logic, name, value, wording.sentences, f"{here}.sentences", alone=True)
            if wording.answers is not None:
                _check_bank(logic, name, value, wording.answers, f"{here}.answers", alone=False)
        for value in sorted(HEDGED):
            bank: Bank = getattr(logic.hedges, value)
            said = Bank.model_validate(
                {side: [s.replace("{name}", concept.name) for s in bank.of(side)] for side in ("train", "test")}  # type: ignore[arg-type]
            )
            _check_bank(logic, name, value, said, f"hedges.{value}", alone=True)
    for kind, unsupported in logic.unsupported.items():
        _check_disjoint(unsupported.examples, f"unsupported.{kind}.examples")
        for text in unsupported.examples.all:
            parsed = parse_text(logic, text)
            if [u.kind for u in parsed.unsupported] != [kind] or parsed.claims:
                fail(
                    f"unsupported.{kind}.examples",
                    f"{text!r} is read as {_summary(parsed)}",
                    f"It must be of kind {kind!r} alone and claim nothing.",
                )


def _check_disjoint(bank: Bank, place: str) -> None:
    shared = {tuple(words(s)) for s in bank.train} & {tuple(words(s)) for s in bank.test}
    if shared:
        fail(place, f"{' '.join(min(shared))!r} is in train and test", "Keep the test bank held out.")


def _check_bank(logic: Logic, concept: str, value: str, bank: Bank, place: str, *, alone: bool) -> None:
    _check_disjoint(bank, place)
    for text in bank.all:
        parsed = parse_text(logic, text)
        if alone and (parsed.answers != {concept: value} or parsed.unsupported or parsed.unrecognised):
            fail(place, f"{text!r} is read as {_summary(parsed)}", f"It must say {concept} = {value} and no more.")
        answer = parse_answer(logic, concept, text)
        if answer != value or parsed.unsupported:
            fail(place, f"the answer {text!r} is read as {answer}", f"It must say {value}.")


def check_number_sentences(logic: Logic, name: str, concept: Concept) -> None:
    """Raise where a sentence that says a number at an edge of a band is not read as that band.

    Raises:
        DataError: with the dotted place in `field`.
    """
    if concept.numbers is None or concept.measurement is None or concept.numbers.sentences is None:
        return
    step = 10.0**-concept.numbers.decimals / (100 if concept.numbers.percent else 1)
    edges = [band.below for band in concept.measurement.bands if band.below is not None]
    for number in sorted({step, 2 * step, *edges, *(edge - step for edge in edges), edges[-1] + step}):
        value = concept.measurement.band(number)
        for seed in range(8):
            for side in ("train", "test"):
                text = render_sentence(logic, name, value, seed=seed, bank=side, number=number)  # type: ignore[arg-type]
                if parse_text(logic, text).answers != {name: value}:
                    fail(
                        f"concepts.{name}.numbers", f"{text!r} is not read as {value}", "Add its form to `forms`."
                    )


def _summary(parsed: ParsedText) -> str:
    said = [f"{claim.concept} = {claim.value}" for claim in parsed.claims]
    return ", ".join(said + [f"a {u.kind} statement" for u in parsed.unsupported]) or "nothing"
