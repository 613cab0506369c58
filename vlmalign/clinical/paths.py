"""Which answers can be true together: a small constraint search with three-valued pruning.

A *path* gives every concept one value; it is valid when every constraint holds and every derived concept
has the value that its rules give. Nothing here enumerates the product of all answers: only concepts that an
undecided rule mentions are tried, and a branch ends as soon as one rule is false.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from vlmalign.clinical.rules import Condition, Constraint, Rule
from vlmalign.clinical.schema import CONTRADICTORY, RESERVED, Logic


def holds(condition: Condition, answers: Mapping[str, str]) -> bool | None:
    """Whether a condition holds: True, False, or None while unanswered concepts could decide either way.

    Example:
        >>> condition = Condition.model_validate({"leukocyte": "absent", "platelets": ["few", "many"]})
        >>> holds(condition, {"leukocyte": "absent"}), holds(condition, {"platelets": "none"})
        (None, False)
    """
    parts: list[bool | None] = [
        answers[concept] in values if concept in answers else None for concept, values in condition.answers.items()
    ]
    parts += [holds(part, answers) for part in condition.all]
    if condition.any:
        parts.append(_any([holds(part, answers) for part in condition.any]))
    if condition.negated is not None:
        parts.append(_not(holds(condition.negated, answers)))
    return _all(parts)


def _all(parts: Iterable[bool | None]) -> bool | None:
    parts = list(parts)
    return False if False in parts else None if None in parts else True


def _any(parts: Iterable[bool | None]) -> bool | None:
    return _not(_all([_not(part) for part in parts]))


def _not(part: bool | None) -> bool | None:
    return None if part is None else not part


def rule_values(rules: tuple[Rule, ...], answers: Mapping[str, str]) -> tuple[str, ...]:
    """Values that ordered rules can still give; one when determined."""
    values: list[str] = []
    for rule in rules:
        state = True if rule.when is None else holds(rule.when, answers)
        if state is not False:
            values.append(rule.value)
        if state:
            break
    return tuple(dict.fromkeys(values))


def constraint_holds(constraint: Constraint, answers: Mapping[str, str]) -> bool | None:
    """Whether a constraint holds: True, False, or None while undecided."""
    if constraint.require is not None:
        return holds(constraint.require, answers)
    if constraint.iff is not None:
        left, right = (holds(side, answers) for side in constraint.iff)
        return None if left is None or right is None else left == right
    assert constraint.if_ is not None and constraint.then is not None  # the loader checks it
    return _any([_not(holds(constraint.if_, answers)), holds(constraint.then, answers)])


def is_consistent(logic: Logic, answers: Mapping[str, str]) -> bool:
    """Whether some valid path agrees with all given answers.

    `uncertain` and `not_assessed` leave a concept open; `contradictory` agrees with no path.

    Raises:
        ValueError: a concept or value that the logic does not have.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> logic = load_logic("peripheral_smear")
        >>> is_consistent(logic, {"leukocyte": "absent", "leukocyte_kind": "segmented"})
        False
    """
    for concept, value in answers.items():
        logic.check_value(concept, value, reserved=True)
    if CONTRADICTORY in answers.values():
        return False
    return _satisfiable(logic, frozenset(_settled(answers).items()))


def derive(logic: Logic, answers: Mapping[str, str]) -> dict[str, str]:
    """The answers, and every derived concept that they determine.

    Answers that are given are kept as they are, also when the rules say otherwise (`is_consistent` tells).

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> derive(load_logic("peripheral_smear"), {"crowding": "crowded"})["impression"]
        'thick_area'
    """
    found = dict(answers)
    waiting = [name for name in logic.derived_concepts if name not in found]
    progress = True
    while progress:  # a derived concept may follow from another one
        progress = False
        for name in tuple(waiting):
            values = rule_values(logic.concepts[name].derived, _settled(found))
            if len(values) == 1:
                found[name] = values[0]
                waiting.remove(name)
                progress = True
    return found


def forced_values(
    logic: Logic, answers: Mapping[str, str], concepts: Iterable[str] | None = None
) -> dict[str, str]:
    """Concepts that have only one value left on the valid paths that agree with the answers.

    Args:
        logic: the domain.
        answers: what is given; nothing follows from answers that agree with no path.
        concepts: which concepts to look at; by default every one that is not given.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> forced_values(load_logic("peripheral_smear"), {"leukocyte": "absent"})
        {'leukocyte_kind': 'not_applicable'}
    """
    if not is_consistent(logic, answers):
        return {}
    given = _settled(answers)
    names = logic.order if concepts is None else tuple(concepts)
    found = {}
    for name in names:
        if name not in given:
            left = [
                v for v in logic.concept(name).values if _satisfiable(logic, frozenset({**given, name: v}.items()))
            ]
            if len(left) == 1:
                found[name] = left[0]
    return found


def valid_paths(logic: Logic, answers: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """Every valid path that agrees with the answers, in canonical order, found one by one.

    The number of paths grows with the product of all values: for large logics take only the first few, or
    give answers.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> len(list(valid_paths(load_logic("peripheral_smear"))))
        162
    """
    given = _settled(answers or {})
    if CONTRADICTORY in (answers or {}).values() or not _satisfiable(logic, frozenset(given.items())):
        return
    free = [name for name in logic.order if name not in given]
    if not free:
        yield {name: given[name] for name in logic.order}
        return
    for value in logic.concepts[free[0]].values:
        yield from valid_paths(logic, {**given, free[0]: value})


def satisfiable(logic: Logic, answers: Mapping[str, str], extra: tuple[Condition, ...] = ()) -> bool:
    """Whether some valid path agrees with the answers and fulfils the extra conditions as well."""
    return _search(logic, dict(_settled(answers)), extra)


@lru_cache(maxsize=65536)
def _satisfiable(logic: Logic, answers: frozenset[tuple[str, str]]) -> bool:
    return _search(logic, dict(answers), ())


def _search(logic: Logic, answers: dict[str, str], extra: tuple[Condition, ...]) -> bool:
    """Depth-first: stop at the first false rule, branch on one concept of an undecided one."""
    open_concepts: frozenset[str] = frozenset()
    states = [(constraint_holds(constraint, answers), _mentioned(constraint)) for constraint in logic.constraints]
    states += [(holds(condition, answers), condition.concepts) for condition in extra]
    for state, concepts in states:
        if state is False:
            return False
        if state is None:
            open_concepts |= concepts
    for name in logic.derived_concepts:
        if name not in answers and name not in open_concepts:
            continue  # it follows from the rest, whatever that is
        values = rule_values(logic.concepts[name].derived, answers)
        if name in answers and answers[name] not in values:
            return False
        if name not in answers or len(values) > 1:
            open_concepts |= {name}.union(*(r.when.concepts for r in logic.concepts[name].derived if r.when))
    for name in logic.order:  # observed concepts first: derived ones follow from them
        if name in open_concepts and name not in answers and not logic.concepts[name].derived:
            return any(_search(logic, {**answers, name: v}, extra) for v in logic.concepts[name].values)
    for name in logic.derived_concepts:
        if name in open_concepts and name not in answers:
            values = rule_values(logic.concepts[name].derived, answers)
            return any(_search(logic, {**answers, name: v}, extra) for v in values)
    return True


def _mentioned(constraint: Constraint) -> frozenset[str]:
    parts = (constraint.require, constraint.if_, constraint.then, *(constraint.iff or ()))
    return frozenset().union(*(part.concepts for part in parts if part is not None))


def _settled(answers: Mapping[str, str]) -> dict[str, str]:
    return {concept: value for concept, value in answers.items() if value not in RESERVED}
