"""What a logic must satisfy beyond its schema; the first broken rule is raised with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from vlmalign.clinical.generator import render_sentence
from vlmalign.clinical.lexicon import lexicon_of, words
from vlmalign.clinical.parser import ParsedText, parse_answer, parse_text, question_concept
from vlmalign.clinical.paths import satisfiable
from vlmalign.clinical.placeholders import unknown_placeholders
from vlmalign.clinical.schema import (
    CONDITION_KEYS,
    HEDGED,
    RESERVED,
    Bank,
    Concept,
    Condition,
    Constraint,
    Logic,
    Measurement,
)
from vlmalign.records.errors import DataError

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check_logic(logic: Logic) -> None:
    """Raise on the first rule that the logic breaks.

    Raises:
        DataError: with the dotted place in `field`.
    """
    _check_names(logic)
    _check_questions(logic)
    for name, concept in logic.concepts.items():
        _check_references(logic, name, concept)
        if concept.measurement is not None:
            _check_bands(concept.measurement, concept, f"concepts.{name}.measurement")
        _check_numbers(concept, f"concepts.{name}.numbers")
    for index, constraint in enumerate(logic.constraints):
        for key, condition in _conditions(constraint):
            _check_condition(logic, condition, f"constraints.{index}.{key}")
    _check_placeholders(logic)
    _check_cycles(logic)
    _check_patterns(logic)
    lexicon_of(logic)
    _check_reachable(logic)
    _check_banks(logic)


def _fail(place: str, rule: str, remedy: str) -> NoReturn:
    raise DataError(rule, remedy, field=place)


def _check_names(logic: Logic) -> None:
    for name, concept in logic.concepts.items():
        if not _NAME.fullmatch(name) or name in CONDITION_KEYS:
            _fail(f"concepts.{name}", f"{name!r} cannot name a concept", "Use lower-case letters, digits and _.")
        for value in concept.values:
            if not _NAME.fullmatch(value) or value in RESERVED:
                _fail(
                    f"concepts.{name}.values.{value}",
                    f"{value!r} cannot name a value",
                    f"Use lower-case letters, digits and _, and none of {sorted(RESERVED)}.",
                )


def _check_questions(logic: Logic) -> None:
    asked: set[str] = set()
    for index, question in enumerate(logic.questions):
        if question.concept not in logic.concepts:
            _unknown_concept(logic, question.concept, f"questions.{index}.concept")
        if question.concept in asked:
            _fail(f"questions.{index}.concept", f"{question.concept!r} is asked twice", "Join the two.")
        asked.add(question.concept)
    for name in logic.concepts:
        if name not in asked:
            _fail(f"concepts.{name}", f"no question asks {name!r}", "Add it to `questions`.")


def _unknown_concept(logic: Logic, name: str, place: str) -> None:
    _fail(place, f"unknown concept {name!r}", f"Use one of {list(logic.concepts)}.")


def _check_value(concept: Concept, value: str | None, place: str) -> None:
    if value is not None and value not in concept.values:
        _fail(place, f"unknown value {value!r}", f"Use one of {list(concept.values)}.")


def _check_references(logic: Logic, name: str, concept: Concept) -> None:
    place = f"concepts.{name}"
    for other in concept.about:
        if other not in logic.concepts:
            _unknown_concept(logic, other, f"{place}.about")
    _check_value(concept, concept.yes, f"{place}.yes")
    _check_value(concept, concept.no, f"{place}.no")
    if concept.presence is not None:
        _check_value(concept, concept.presence.affirmed, f"{place}.presence.affirmed")
        _check_value(concept, concept.presence.denied, f"{place}.presence.denied")
    for value, wording in concept.values.items():
        _check_value(concept, wording.opposite, f"{place}.values.{value}.opposite")
    for index, rule in enumerate(concept.derived):
        here = f"{place}.derived.{index}"
        _check_value(concept, rule.value, f"{here}.value")
        last = index == len(concept.derived) - 1
        if last != (rule.when is None):
            _fail(here, "only the last rule, and always the last, has no `when`", "End the rules on an otherwise.")
        if rule.when is not None:
            _check_condition(logic, rule.when, f"{here}.when")


def _check_condition(logic: Logic, condition: Condition, place: str) -> None:
    for name, values in condition.answers.items():
        if name not in logic.concepts:
            _unknown_concept(logic, name, f"{place}.{name}")
        for value in values:
            _check_value(logic.concepts[name], value, f"{place}.{name}")
    for key, parts in (("all", condition.all), ("any", condition.any)):
        for index, part in enumerate(parts):
            _check_condition(logic, part, f"{place}.{key}.{index}")
    if condition.negated is not None:
        _check_condition(logic, condition.negated, f"{place}.not")


def _conditions(constraint: Constraint) -> Iterator[tuple[str, Condition]]:
    single = (("require", constraint.require), ("if", constraint.if_), ("then", constraint.then))
    yield from ((key, condition) for key, condition in single if condition is not None)
    yield from ((f"iff.{index}", condition) for index, condition in enumerate(constraint.iff or ()))


def _check_bands(measurement: Measurement, concept: Concept, place: str) -> None:
    edges = [band.below for band in measurement.bands]
    for index, band in enumerate(measurement.bands):
        _check_value(concept, band.value, f"{place}.bands.{index}.value")
    closed = [edge for edge in edges[:-1] if edge is not None]
    if len(closed) != len(edges) - 1 or edges[-1] is not None or closed != sorted(set(closed)):
        _fail(
            f"{place}.bands", f"bands end below {edges}", "Let `below` rise from band to band; the last has none."
        )
    if measurement.count and any(edge != int(edge) for edge in closed):
        _fail(f"{place}.bands", f"a count has bands below {closed}", "Use whole numbers.")


def _check_numbers(concept: Concept, place: str) -> None:
    numbers = concept.numbers
    if numbers is None:
        return
    if concept.measurement is None:
        _fail(place, "numbers without a measurement", "Give the concept a `measurement` with bands.")
    for sentence in (*numbers.forms, *(numbers.sentences.all if numbers.sentences else ())):
        if sentence.count("{n}") != 1:
            _fail(place, f"{sentence!r} must hold {{n}} once", "Put {n} where the number stands.")


def _check_placeholders(logic: Logic) -> None:
    for place, text, unknown, known in unknown_placeholders(logic):
        rule = f"{text!r} holds {unknown}, which nothing fills: known here are {', '.join(known) or 'none'}"
        _fail(place, rule, "Write the words themselves, or correct the name.")


def _check_cycles(logic: Logic) -> None:
    needs = {
        name: frozenset().union(*(r.when.concepts for r in concept.derived if r.when))
        for name, concept in logic.concepts.items()
    }
    for name in logic.derived_concepts:
        reached: set[str] = set()
        waiting = set(needs[name])
        while waiting:
            current = waiting.pop()
            reached.add(current)
            waiting |= needs[current] - reached
        if name in reached:
            _fail(f"concepts.{name}.derived", f"{name!r} is derived from itself", "Break the circle.")


def _check_patterns(logic: Logic) -> None:
    for kind, unsupported in logic.unsupported.items():
        for index, pattern in enumerate(unsupported.patterns):
            try:
                re.compile(pattern)
            except re.error as error:
                _fail(f"unsupported.{kind}.patterns.{index}", f"not a regular expression: {error}", "Correct it.")


def _check_reachable(logic: Logic) -> None:
    if not satisfiable(logic, {}):
        _fail("constraints", "no path satisfies all constraints", "Relax one of them.")
    for name, concept in logic.concepts.items():
        for value in concept.values:
            if not satisfiable(logic, {name: value}):
                _fail(
                    f"concepts.{name}.values.{value}",
                    f"no valid path reaches {name} = {value!r}",
                    "Delete the value, or relax the rules.",
                )
        earlier: tuple[Condition, ...] = ()
        for index, rule in enumerate(concept.derived):
            own = (rule.when,) if rule.when else ()
            if not satisfiable(logic, {}, earlier + own):
                place = f"concepts.{name}.derived.{index}"
                _fail(place, "no valid path reaches this rule", "Delete it, or move it up.")
            earlier += tuple(Condition(negated=condition) for condition in own)


# -- banks: the parser must read back what the generator writes ---------------------------------------


def _check_banks(logic: Logic) -> None:
    for index, question in enumerate(logic.questions):
        _check_disjoint(question.bank, f"questions.{index}")
        for text in question.bank.all:
            if question_concept(logic, text) != question.concept:
                _fail(f"questions.{index}", f"{text!r} also asks another concept", "Word one of them differently.")
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
        _check_number_sentences(logic, name, concept)
    for kind, unsupported in logic.unsupported.items():
        _check_disjoint(unsupported.examples, f"unsupported.{kind}.examples")
        for text in unsupported.examples.all:
            parsed = parse_text(logic, text)
            if [u.kind for u in parsed.unsupported] != [kind] or parsed.claims:
                _fail(
                    f"unsupported.{kind}.examples",
                    f"{text!r} is read as {_summary(parsed)}",
                    f"It must be of kind {kind!r} alone and claim nothing.",
                )


def _check_disjoint(bank: Bank, place: str) -> None:
    shared = {tuple(words(s)) for s in bank.train} & {tuple(words(s)) for s in bank.test}
    if shared:
        _fail(place, f"{' '.join(min(shared))!r} is in train and test", "Keep the test bank held out.")


def _check_bank(logic: Logic, concept: str, value: str, bank: Bank, place: str, *, alone: bool) -> None:
    _check_disjoint(bank, place)
    for text in bank.all:
        parsed = parse_text(logic, text)
        if alone and (parsed.answers != {concept: value} or parsed.unsupported or parsed.unrecognised):
            _fail(
                place, f"{text!r} is read as {_summary(parsed)}", f"It must say {concept} = {value} and no more."
            )
        answer = parse_answer(logic, concept, text)
        if answer != value or parsed.unsupported:
            _fail(place, f"the answer {text!r} is read as {answer}", f"It must say {value}.")


def _check_number_sentences(logic: Logic, name: str, concept: Concept) -> None:
    if concept.numbers is None or concept.measurement is None or concept.numbers.sentences is None:
        return
    step = 10.0**-concept.numbers.decimals
    edges = [band.below for band in concept.measurement.bands if band.below is not None]
    for number in sorted({step, 2 * step, *edges, *(edge - step for edge in edges), edges[-1] + step}):
        value = concept.measurement.band(number)
        for seed in range(8):
            for side in ("train", "test"):
                text = render_sentence(logic, name, value, seed=seed, bank=side, number=number)  # type: ignore[arg-type]
                if parse_text(logic, text).answers != {name: value}:
                    _fail(
                        f"concepts.{name}.numbers", f"{text!r} is not read as {value}", "Add its form to `forms`."
                    )


def _summary(parsed: ParsedText) -> str:
    said = [f"{claim.concept} = {claim.value}" for claim in parsed.claims]
    return ", ".join(said + [f"a {u.kind} statement" for u in parsed.unsupported]) or "nothing"
