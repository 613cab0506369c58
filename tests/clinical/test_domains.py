"""What must hold of every shipped logic under each of its policies."""

from __future__ import annotations

import itertools
import math
import random
from functools import cache

import pytest

from vlmalign.clinical import (
    derive,
    is_consistent,
    list_logics,
    load_logic,
    parse_conversation,
    parse_text,
    render_conversation,
    render_report,
)
from vlmalign.clinical.loader import _load
from vlmalign.clinical.paths import constraint_holds, valid_paths

DOMAINS = list_logics()
RESOLVED = [
    f"{name}@{policy}" if policy else name
    for name in DOMAINS
    for policy in (tuple(load_logic(name).policies) or (None,))
]


@cache
def paths_to_every_value(name: str) -> list[dict[str, str]]:
    """One valid path to each value that the policy can give."""
    logic = load_logic(name)
    paths = []
    for concept, described in logic.concepts.items():
        for value in described.values:
            path = next(valid_paths(logic, {concept: value}), None)
            if path is not None:
                paths.append(path)
    return paths


@pytest.mark.parametrize("name", RESOLVED)
def test_every_value_is_reached_but_those_that_the_policy_says_it_never_gives(name):
    logic = load_logic(name)
    never = logic.policies[logic.policy].never if logic.policy else {}
    reached = {pair for path in paths_to_every_value(name) for pair in path.items()}
    for concept, described in logic.concepts.items():
        assert {v for v in described.values if (concept, v) not in reached} == set(never.get(concept, ()))


@pytest.mark.parametrize("name", RESOLVED)
def test_observed_answers_decide_the_derived_ones(name):
    logic = load_logic(name)
    for path in paths_to_every_value(name):
        observed = {k: v for k, v in path.items() if not logic.concepts[k].derived}
        assert derive(logic, observed) == path
        for concept in logic.derived_concepts:
            for value in logic.concepts[concept].values:
                assert is_consistent(logic, {**path, concept: value}) == (value == path[concept])


@pytest.mark.parametrize("name", RESOLVED)
def test_the_search_agrees_with_the_rules_on_complete_answers(name):
    logic = load_logic(name)
    chance = random.Random(0)
    values = [tuple(concept.values) for concept in logic.concepts.values()]
    few = math.prod(map(len, values)) <= 5000
    drawn = itertools.product(*values) if few else (map(chance.choice, values) for _ in range(1000))
    complete = [dict(zip(logic.concepts, row, strict=True)) for row in drawn]
    complete += [
        {**p, c: chance.choice(tuple(logic.concepts[c].values))} for p in paths_to_every_value(name) for c in p
    ]
    valid = 0
    for answers in complete:
        observed = {k: v for k, v in answers.items() if not logic.concepts[k].derived}
        obeys = derive(logic, observed) == answers and all(constraint_holds(c, answers) for c in logic.constraints)
        assert is_consistent(logic, answers) == obeys
        valid += obeys
    assert 0 < valid < len(complete)


@pytest.mark.parametrize("name", DOMAINS)
def test_reports_and_conversations_in_every_order_say_the_answers_they_were_written_from(name):
    logic = load_logic(name)
    for seed, path in enumerate(paths_to_every_value(name)):
        bank = ("train", "test")[seed % 2]
        assert parse_text(logic, render_report(logic, path, seed=seed, bank=bank)).answers == path
        for order in ("canonical", "impression_first", "shuffled"):
            turns = render_conversation(logic, path, seed=seed, order=order, bank=bank)
            parsed = parse_conversation(logic, turns)
            assert parsed.answers == path and not parsed.unsupported and not parsed.unrecognised


@pytest.mark.parametrize("name", DOMAINS)
def test_flipping_any_concept_flips_its_parse_and_no_other(name):
    logic = load_logic(name)
    path = paths_to_every_value(name)[-1]
    for concept, described in logic.concepts.items():
        for value in (*described.values, "uncertain", "not_assessed"):
            flipped = {**path, concept: value}
            assert parse_text(logic, render_report(logic, flipped, seed=3, bank="test")).answers == flipped


@pytest.mark.parametrize("name", sorted(set(DOMAINS) - {"peripheral_smear"}))
def test_every_bank_has_three_paraphrases_and_two_held_out(name):
    logic = load_logic(name)
    banks = {"report_prompts": logic.report_prompts, "uncertain": logic.hedges.uncertain}
    banks |= {q.concept: q.bank for q in logic.questions}
    for concept, described in logic.concepts.items():
        for value, wording in described.values.items():
            banks[f"{concept}.{value}"] = wording.sentences
            banks[f"{concept}.{value}.answers"] = wording.answers or wording.sentences
    banks |= {kind: unsupported.examples for kind, unsupported in logic.unsupported.items()}
    short = {place for place, bank in banks.items() if len(set(bank.train)) < 3 or len(set(bank.test)) < 2}
    assert not short


@pytest.mark.parametrize("name", DOMAINS)
def test_a_logic_loads_quickly_with_all_its_checks(name, in_good_time):
    _load.cache_clear()
    with in_good_time(1.5):  # about a fifth of it on an idle core
        load_logic(name)


@pytest.mark.parametrize("name", DOMAINS)
def test_every_policy_names_its_source_and_every_logic_its_sources(name):
    logic = load_logic(name)
    assert logic.sources and all(policy.source for policy in logic.policies.values())
