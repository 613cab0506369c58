"""Before and after, finding by finding: what was found, missed, said wrongly and added, and what got worse."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from vlmalign.clinical import Logic
from vlmalign.clinical.schema import RESERVED
from vlmalign.evaluation.cross_tables import NOT_SAID, cross_table
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference
from vlmalign.evaluation.paired_tests import SIGNIFICANT, adjust_holm, paired_p
from vlmalign.evaluation.run_items import Pairs, RunItem

#: what an answer makes of a concept whose truth is known; one of these each
STATES = ("right", "wrong", "missing", "added")
#: measures that are tested; the states' shares are told with intervals alone, but for `right`
TESTED = ("sensitivity", "specificity", "right")
#: of concepts with more values a table is shown
TWO = 2


def absent_value(logic: Logic, concept: str) -> str | None:
    """The value that says that the finding is not there; None of a concept that is no finding (a stain, a side).

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> logic = load_logic("peripheral_smear")
        >>> absent_value(logic, "platelets"), absent_value(logic, "stain")
        ('none', None)
    """
    presence = logic.concepts[concept].presence
    return None if presence is None else presence.denied


def claim_state(truth: str, said: str | None, absent: str | None = None) -> str:
    """What an answer makes of a known concept.

    * missing: nothing definite is said: silence, a hedge, a contradiction;
    * right: said as it is;
    * added: the finding is said to be there, and is not;
    * wrong: said otherwise, a denied finding among these.

    Args:
        truth: the true value.
        said: what was read; None: nothing.
        absent: the value that says that it is not there, of a finding.

    Example:
        >>> [claim_state("few", said, "none") for said in ("few", "many", "none", "uncertain", None)]
        ['right', 'wrong', 'wrong', 'missing', 'missing']
        >>> claim_state("none", "few", "none")
        'added'
    """
    if said is None or said in RESERVED:
        return "missing"
    if said == truth:
        return "right"
    return "added" if truth == absent else "wrong"


def finding_changes(pairs: Pairs, logic: Logic, *, seed: int = 0) -> dict[str, Any]:
    """Every finding's figures after and before alignment, and which got worse.

    Sensitivity: of items that have the finding, the share in which it is said to be there, of whatever degree.
    Specificity: of those that have it not, the share in which it is not said to be there; a report need not list
    what is normal, so that silence counts as not said in both. Concepts that are no findings have neither.

    Args:
        pairs: what is said after and before, of each item.
        logic: tells the values that say that a finding is not there.
        seed: of bootstraps.

    Returns:
        `findings`: concept -> measure (`sensitivity`, `specificity`, and the shares `right`, `wrong`, `missing`,
        `added`) -> `after`, `before`, `difference`, and of those tested `p`, `p_holm` (over all tested ones);
        `known`, `present`, `absent`: items that both were to answer; `one_side_only`: items that only one was, as
        where a question was asked on one side; `unverified`: definite claims of which nothing is known. `all`: the
        shares over all known claims together. `worse`, `better`: concept and measure, after Holm; and
        `worse_by_its_own_interval`. `tables`: of concepts with more than two values, after and before.
    """
    concepts = dict.fromkeys(name for a, b in pairs for item in (a, b) for name in (*item.truth, *item.predicted))
    found = {name: _finding(pairs, name, logic, seed) for name in concepts if name in logic.concepts}
    told = {name: each for name, each in found.items() if each["known"]}
    tested = [(name, measure) for name, each in told.items() for measure in TESTED if each[measure] is not None]
    adjust_holm(told[name][measure] for name, measure in tested)
    lists: dict[str, list[list[str]]] = {"worse": [], "better": [], "worse_by_its_own_interval": []}
    for name, measure in tested:
        each = told[name][measure]
        change, surely = each["difference"], each["p_holm"] is not None and each["p_holm"] < SIGNIFICANT
        if surely:
            lists["worse" if change["mean"] < 0 else "better"].append([name, measure])
        elif change["high"] is not None and change["high"] < 0:
            lists["worse_by_its_own_interval"].append([name, measure])
    return {
        "findings": told, "all": _all(pairs, list(told), logic, seed), "tests": len(tested), **lists,
        "unknown_only": sorted(set(found) - set(told)),
        "tables": {name: _tables(pairs, name, logic) for name in told if len(logic.concepts[name].values) > TWO},
    }  # fmt: skip


def _finding(pairs: Pairs, concept: str, logic: Logic, seed: int) -> dict[str, Any]:
    absent = absent_value(logic, concept)
    known = [(a, b) for a, b in pairs if concept in a.truth and concept in b.truth]
    groups = [a.group for a, _ in known]
    found: dict[str, Any] = {
        "known": len(known), "one_side_only": sum((concept in a.truth) != (concept in b.truth) for a, b in pairs),
        "present": None if absent is None else sum(a.truth[concept] != absent for a, _ in known),
        "absent": None if absent is None else sum(a.truth[concept] == absent for a, _ in known),
        "unverified": {side: sum(concept not in pair[k].truth and _definite(pair[k].predicted.get(concept))
                                 for pair in pairs) for k, side in enumerate(("after", "before"))},
        "sensitivity": None, "specificity": None,
    }  # fmt: skip
    states = [
        tuple(claim_state(x.truth[concept], x.predicted.get(concept), absent) for x in pair) for pair in known
    ]
    for state in STATES:
        if state == "added" and absent is None:
            continue
        after, before = ([float(pair[side] == state) for pair in states] for side in (0, 1))
        found[state] = _change(after, before, groups, seed, tested=state in TESTED)
    if absent is not None:
        for measure, there in (("sensitivity", True), ("specificity", False)):
            rows = [(a, b) for a, b in known if (a.truth[concept] != absent) == there]
            after, before = (
                [float(_says(pair[side], concept, absent) == there) for pair in rows] for side in (0, 1)
            )
            found[measure] = _change(after, before, [a.group for a, _ in rows], seed, tested=True)
    return found


def _change(
    after: Sequence[float], before: Sequence[float], groups: Sequence[Hashable], seed: int, *, tested: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "after": cluster_estimate(after, groups, proportion=True, seed=seed).to_dict(),
        "before": cluster_estimate(before, groups, proportion=True, seed=seed).to_dict(),
        "difference": paired_difference(after, before, groups, seed=seed).to_dict()
        if after else Estimate.nothing().to_dict(),
    }  # fmt: skip
    return {**found, "p": paired_p(after, before, groups, seed=seed), "p_holm": None} if tested else found


def _all(pairs: Pairs, concepts: Sequence[str], logic: Logic, seed: int) -> dict[str, Any]:
    """Shares over all known claims, each weighing the same."""
    rows = [(a, b, concept) for a, b in pairs for concept in concepts
            if concept in a.truth and concept in b.truth]  # fmt: skip
    groups = [a.group for a, _, _ in rows]
    states = [
        tuple(claim_state(x.truth[c], x.predicted.get(c), absent_value(logic, c)) for x in (a, b))
        for a, b, c in rows
    ]
    found = {}
    for state in STATES:
        after, before = ([float(pair[side] == state) for pair in states] for side in (0, 1))
        found[state] = _change(after, before, groups, seed, tested=False)
    return found


def _tables(pairs: Pairs, concept: str, logic: Logic) -> dict[str, Any]:
    return {
        side: cross_table(
            [(pair[k].truth.get(concept), pair[k].predicted.get(concept)) for pair in pairs],
            title=f"{concept}, {side}", row_title="true", column_title="said", missing=NOT_SAID,
            order=list(logic.concepts[concept].values),
        ).to_dict()
        for k, side in enumerate(("after", "before"))
    }  # fmt: skip


def _says(item: RunItem, concept: str, absent: str) -> bool:
    said = item.predicted.get(concept)
    return _definite(said) and said != absent


def _definite(said: str | None) -> bool:
    return said is not None and said not in RESERVED


def worse_in_words(found: Mapping[str, Any]) -> str:
    """Which findings got worse, in a sentence."""

    def listed(key: str) -> str:
        return "; ".join(f"{name.replace('_', ' ')} ({measure})" for name, measure in found[key])

    sure, hint = listed("worse"), listed("worse_by_its_own_interval")
    first = (
        f"Worse after Holm over {found['tests']} tests: {sure}."
        if sure
        else (f"Nothing is worse after Holm over {found['tests']} tests.")
    )
    return first + (f" By the own interval only: {hint}." if hint else "")
