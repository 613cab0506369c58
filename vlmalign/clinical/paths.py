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

    Raises:
        ValueError: a concept or value that the logic does not have.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> derive(load_logic("peripheral_smear"), {"crowding": "crowded"})["impression"]
        'thick_area'
    """
    for concept, value in answers.items():
        logic.check_value(concept, value, reserved=True)
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
    first = _search(logic, given, ())
    assert first is not None  # they are consistent
    names = logic.order if concepts is None else tuple(concepts)
    seen = {name: {first[name]} for name in names if name in first}
    found = {}
    for name in names:
        concept = logic.concept(name)
        if name in given or name not in first and not concept.derived:
            continue  # nothing that is undecided speaks of it
        for value in concept.values:
            if len(seen.setdefault(name, set())) > 1:
                break
            if value not in seen[name]:
                for other, said in (_search(logic, {**given, name: value}, ()) or {}).items():
                    if other in seen:
                        seen[other].add(said)  # a path for one concept spares searches for others
        if len(seen[name]) == 1:
            found[name] = next(iter(seen[name]))
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
    return _search(logic, dict(_settled(answers)), extra) is not None


@lru_cache(maxsize=65536)
def _satisfiable(logic: Logic, answers: frozenset[tuple[str, str]]) -> bool:
    return _search(logic, dict(answers), ()) is not None


def _search(logic: Logic, answers: dict[str, str], extra: tuple[Condition, ...]) -> dict[str, str] | None:
    """Depth-first: stop at the first false rule, branch on the concept with the fewest values left.

    Rules that mention an answered concept go first. A contradiction so comes up before concepts that have
    nothing to do with it are tried: in their order they would be tried in all combinations.

    Returns:
        Answers that decide every rule and that every completion makes a valid path of (derived concepts as
        their rules give); None if there are none.
    """
    open_concepts: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()
    states = [(constraint_holds(constraint, answers), concepts) for constraint, concepts in _constraints(logic)]
    states += [(holds(condition, answers), condition.concepts) for condition in extra]
    for name, concepts in _derived(logic):
        if name in answers:
            values = rule_values(logic.concepts[name].derived, answers)
            states.append(
                (None if len(values) > 1 and answers[name] in values else answers[name] in values, concepts)
            )
    for state, concepts in states:
        if state is False:
            return None
        if state is None:
            open_concepts |= concepts
            if not answers.keys().isdisjoint(concepts):
                touched |= concepts
    for name, concepts in _derived(logic):
        if name not in answers and name in open_concepts:  # else it follows from the rest, whatever that is
            open_concepts |= concepts
    best = _narrowest(logic, answers, touched, extra, every=True)
    best = best or _narrowest(logic, answers, open_concepts, extra, every=False)
    return answers if best is None else _first(logic, answers, *best, extra)


def _narrowest(
    logic: Logic, answers: dict[str, str], concepts: frozenset[str], extra: tuple[Condition, ...], *, every: bool
) -> tuple[str, list[str]] | None:
    """The concept with the fewest values that no rule refuses at once; the first one, unless `every`."""
    best: tuple[str, list[str]] | None = None
    for name in _summaries_first(logic):
        if name in concepts and name not in answers:
            rules = logic.concepts[name].derived
            values = rule_values(rules, answers) if rules else logic.concepts[name].values
            left = [v for v in values if _may_be(logic, {**answers, name: v}, name, extra)]
            if not every or len(left) < 2:
                return name, left
            if best is None or len(left) < len(best[1]):
                best = name, left
    return best


def _may_be(logic: Logic, answers: dict[str, str], name: str, extra: tuple[Condition, ...]) -> bool:
    """Whether no rule that mentions the concept is false."""
    for constraint, concepts in _constraints(logic):
        if name in concepts and constraint_holds(constraint, answers) is False:
            return False
    for derived, concepts in _derived(logic):
        if name in concepts and derived in answers:
            if answers[derived] not in rule_values(logic.concepts[derived].derived, answers):
                return False
    return not any(name in condition.concepts and holds(condition, answers) is False for condition in extra)


def _first(
    logic: Logic, answers: dict[str, str], name: str, values: Iterable[str], extra: tuple[Condition, ...]
) -> dict[str, str] | None:
    found = (_search(logic, {**answers, name: value}, extra) for value in values)
    return next((path for path in found if path is not None), None)


@lru_cache(maxsize=64)
def _constraints(logic: Logic) -> tuple[tuple[Constraint, frozenset[str]], ...]:
    """Constraints with the concepts that they mention."""
    return tuple((constraint, _mentioned(constraint)) for constraint in logic.constraints)


@lru_cache(maxsize=64)
def _derived(logic: Logic) -> tuple[tuple[str, frozenset[str]], ...]:
    """Derived concepts with themselves and the concepts of their rules."""
    return tuple(
        (name, frozenset({name}).union(*(r.when.concepts for r in logic.concepts[name].derived if r.when)))
        for name in logic.derived_concepts
    )


@lru_cache(maxsize=64)
def _summaries_first(logic: Logic) -> tuple[str, ...]:
    """Derived concepts, each before what it follows from, then observed ones: a summary rules out the most."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        for rule in logic.concepts[name].derived:
            for other in sorted(rule.when.concepts if rule.when else ()):
                if other not in order and logic.concepts[other].derived:
                    visit(other)
        order[name] = None

    for name in logic.derived_concepts:
        if name not in order:
            visit(name)
    observed = [name for name in logic.order if not logic.concepts[name].derived]
    return (*reversed(order), *observed)


def _mentioned(constraint: Constraint) -> frozenset[str]:
    parts = (constraint.require, constraint.if_, constraint.then, *(constraint.iff or ()))
    return frozenset().union(*(part.concepts for part in parts if part is not None))


def _settled(answers: Mapping[str, str]) -> dict[str, str]:
    return {concept: value for concept, value in answers.items() if value not in RESERVED}
