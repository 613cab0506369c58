"""What a logic must satisfy beyond its schema; the first broken rule is raised with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlmalign.clinical.bank_checks import check_banks, check_number_sentences, fail
from vlmalign.clinical.lexicon import lexicon_of
from vlmalign.clinical.paths import satisfiable
from vlmalign.clinical.placeholders import unknown_placeholders
from vlmalign.clinical.rules import CONDITION_KEYS, Condition, Constraint, Measurement
from vlmalign.clinical.schema import RESERVED, Concept, Logic

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
        _check_numbers(concept, f"concepts.{name}.numbers")
    _check_placeholders(logic)
    _check_patterns(logic)
    lexicon_of(logic)
    check_rules(logic)
    check_banks(logic)


def check_rules(logic: Logic) -> None:
    """The part of `check_logic` that a policy can break: rules, bands, constraints, and what they can reach.

    Raises:
        DataError: with the dotted place in `field`.
    """
    for name, concept in logic.concepts.items():
        _check_derived(logic, name, concept)
        if concept.measurement is not None:
            _check_measurement(logic, name, concept, concept.measurement)
    for index, constraint in enumerate(logic.constraints):
        for key, condition in _conditions(constraint):
            _check_condition(logic, condition, f"constraints.{index}.{key}")
    _check_cycles(logic)
    _check_reachable(logic)
    for name, concept in logic.concepts.items():
        check_number_sentences(logic, name, concept)


def check_policies(logic: Logic) -> None:
    """What must hold of a logic's policies before they are resolved.

    Raises:
        DataError: with the dotted place in `field`.
    """
    if logic.policy is not None:
        fail(
            "policy", "a file does not choose its policy", "Use `default_policy`, or `load_logic('name@policy')`."
        )
    if logic.default_policy is not None and logic.default_policy not in logic.policies:
        fail("default_policy", f"unknown policy {logic.default_policy!r}", f"Use one of {list(logic.policies)}.")
    for name, policy in logic.policies.items():
        if not _NAME.fullmatch(name):
            fail(f"policies.{name}", f"{name!r} cannot name a policy", "Use lower-case letters, digits and _.")
        for concept, values in policy.never.items():
            if concept not in logic.concepts:
                _unknown_concept(logic, concept, f"policies.{name}.never.{concept}")
            for value in values:
                _check_value(logic.concepts[concept], value, f"policies.{name}.never.{concept}")
    names = [constraint.name for constraint in logic.constraints]
    if len(set(names)) < len(names):
        fail("constraints", f"two constraints have one name among {names}", "Give each its own.")


def _check_names(logic: Logic) -> None:
    for name, concept in logic.concepts.items():
        if not _NAME.fullmatch(name) or name in CONDITION_KEYS:
            fail(f"concepts.{name}", f"{name!r} cannot name a concept", "Use lower-case letters, digits and _.")
        for value in concept.values:
            if not _NAME.fullmatch(value) or value in RESERVED:
                fail(
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
            fail(f"questions.{index}.concept", f"{question.concept!r} is asked twice", "Join the two.")
        asked.add(question.concept)
    for name in logic.concepts:
        if name not in asked:
            fail(f"concepts.{name}", f"no question asks {name!r}", "Add it to `questions`.")


def _unknown_concept(logic: Logic, name: str, place: str) -> None:
    fail(place, f"unknown concept {name!r}", f"Use one of {list(logic.concepts)}.")


def _check_value(concept: Concept, value: str | None, place: str) -> None:
    if value is not None and value not in concept.values:
        fail(place, f"unknown value {value!r}", f"Use one of {list(concept.values)}.")


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


def _check_derived(logic: Logic, name: str, concept: Concept) -> None:
    for index, rule in enumerate(concept.derived):
        here = f"concepts.{name}.derived.{index}"
        _check_value(concept, rule.value, f"{here}.value")
        last = index == len(concept.derived) - 1
        if last != (rule.when is None):
            fail(here, "only the last rule, and always the last, has no `when`", "End the rules on an otherwise.")
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


def _check_measurement(logic: Logic, name: str, concept: Concept, measurement: Measurement) -> None:
    place = f"concepts.{name}.measurement"
    _check_bands(measurement, concept, place)
    if measurement.needs is not None:
        _check_condition(logic, measurement.needs, f"{place}.needs")
        if name in measurement.needs.concepts:
            fail(f"{place}.needs", f"{name!r} needs itself", "Name the answers that must be known before it.")
    if measurement.of is None:
        return
    if measurement.of == measurement.name:
        fail(f"{place}.of", f"{measurement.of!r} is counted of itself", "Name the finding that holds the total.")
    if measurement.count or measurement.unit != "1" or measurement.min_images > 1:
        rule = "a share has the unit '1', bands in fractions, and counts that are summed over all images"
        fail(place, rule, "Leave `count` and `min_images` out, and set unit: '1'.")


def _check_bands(measurement: Measurement, concept: Concept, place: str) -> None:
    edges = [band.below for band in measurement.bands]
    for index, band in enumerate(measurement.bands):
        _check_value(concept, band.value, f"{place}.bands.{index}.value")
    closed = [edge for edge in edges[:-1] if edge is not None]
    if len(closed) != len(edges) - 1 or edges[-1] is not None or closed != sorted(set(closed)):
        fail(
            f"{place}.bands", f"bands end below {edges}", "Let `below` rise from band to band; the last has none."
        )
    if measurement.count and any(edge != int(edge) for edge in closed):
        fail(f"{place}.bands", f"a count has bands below {closed}", "Use whole numbers.")


def _check_numbers(concept: Concept, place: str) -> None:
    numbers = concept.numbers
    if numbers is None:
        return
    if concept.measurement is None:
        fail(place, "numbers without a measurement", "Give the concept a `measurement` with bands.")
    for sentence in (*numbers.forms, *(numbers.sentences.all if numbers.sentences else ())):
        if sentence.count("{n}") != 1:
            fail(place, f"{sentence!r} must hold {{n}} once", "Put {n} where the number stands.")


def _check_placeholders(logic: Logic) -> None:
    for place, text, unknown, known in unknown_placeholders(logic):
        rule = f"{text!r} holds {unknown}, which nothing fills: known here are {', '.join(known) or 'none'}"
        fail(place, rule, "Write the words themselves, or correct the name.")


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
            fail(f"concepts.{name}.derived", f"{name!r} is derived from itself", "Break the circle.")


def _check_patterns(logic: Logic) -> None:
    for kind, unsupported in logic.unsupported.items():
        for index, pattern in enumerate(unsupported.patterns):
            try:
                re.compile(pattern)
            except re.error as error:
                fail(f"unsupported.{kind}.patterns.{index}", f"not a regular expression: {error}", "Correct it.")


def _check_reachable(logic: Logic) -> None:
    never = logic.policies[logic.policy].never if logic.policy is not None else {}
    if not satisfiable(logic, {}):
        fail("constraints", "no path satisfies all constraints", "Relax one of them.")
    for name, concept in logic.concepts.items():
        for value in concept.values:
            reached = satisfiable(logic, {name: value})
            if not reached and value not in never.get(name, ()):
                fail(
                    f"concepts.{name}.values.{value}",
                    f"no valid path reaches {name} = {value!r}",
                    "Delete the value, relax the rules, or list it under `never` of the policy.",
                )
            if reached and value in never.get(name, ()):
                place = f"policies.{logic.policy}.never.{name}"
                fail(place, f"a valid path reaches {value!r}", "Take it off the list.")
        earlier: tuple[Condition, ...] = ()
        for index, rule in enumerate(concept.derived):
            own = (rule.when,) if rule.when else ()
            if not satisfiable(logic, {}, earlier + own):
                place = f"concepts.{name}.derived.{index}"
                fail(place, "no valid path reaches this rule", "Delete it, or move it up.")
            earlier += tuple(Condition(negated=condition) for condition in own)
