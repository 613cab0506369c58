"""Every shipped logic can be corrupted in all the ways its aspects allow."""

import random

import pytest

from data_builders.broken_steps import break_steps
from data_builders.corruptions import ASPECTS, KINDS, corrupt
from data_builders.reading import read_answer
from vlmalign.clinical import derive, is_consistent, list_logics, load_logic, render_conversation, render_report
from vlmalign.records import assistant, user

ASK = (user("What does it show?"),)


def some_path(logic, seed):
    """A valid path, drawn."""
    rng = random.Random(seed)
    answers = {}
    for concept in logic.order:
        values = list(logic.concepts[concept].values)
        rng.shuffle(values)
        if not logic.concepts[concept].derived:
            answers[concept] = next(v for v in values if is_consistent(logic, {**answers, concept: v}))
    return derive(logic, answers)


@pytest.mark.parametrize("name", list_logics())
def test_every_kind_that_a_logic_allows_is_made_and_changes_one_answer(name):
    logic = load_logic(name)
    aspects = {concept.aspect for concept in logic.concepts.values()}
    possible = {kind for kind in KINDS if kind not in ASPECTS or ASPECTS[kind] & aspects}
    made = set()
    for seed in range(3):
        path = some_path(logic, seed)
        left_out = logic.order[seed % len(logic.order)]
        told = {concept: value for concept, value in path.items() if concept != left_out}
        turns = render_conversation(logic, path, seed=seed, order="shuffled")
        for prompt, messages in (
            (ASK, (assistant(render_report(logic, told, seed=seed)),)),
            (turns[:1], turns[1:]),
        ):
            before = read_answer(logic, prompt, messages).parsed.answers
            for kind in possible:
                found = corrupt(logic, prompt, messages, kind, seed=seed, known=path)
                if isinstance(found, str):
                    continue
                made.add(kind)
                after = read_answer(logic, prompt, found.messages).parsed.answers
                changed = {c for c in logic.order if before.get(c) != after.get(c)}
                assert changed == {found.concept}
                assert (before.get(found.concept), after.get(found.concept)) == (found.before, found.after)
    assert made == possible


def test_no_side_or_size_is_given_to_what_is_absent():
    logic = load_logic("chest_xray")
    absent = {"pleural_effusion": "absent", "effusion_side": "not_applicable", "effusion_size": "not_applicable"}
    said = (assistant(render_report(logic, absent, seed=0)),)
    for seed in range(4):
        for kind in ("laterality", "severity"):
            assert corrupt(logic, ASK, said, kind, seed=seed) == "not_applicable"
    there = {"pleural_effusion": "present", "effusion_side": "left", "effusion_size": "small"}
    said = (assistant(render_report(logic, there, seed=0)),)
    sides = {corrupt(logic, ASK, said, "laterality", seed=seed).after for seed in range(8)}
    assert sides == {"right", "both"}


@pytest.mark.parametrize("name", list_logics())
def test_every_logic_has_steps_whose_breaking_leaves_no_valid_path(name):
    logic = load_logic(name)
    turns = render_conversation(logic, some_path(logic, 0), seed=0, order="impression_first")
    steps = list(break_steps(logic, turns[:1], turns[1:], seed=0))
    assert steps and len({step.concept for step in steps}) == len(steps)
    for step in steps:
        assert not is_consistent(logic, read_answer(logic, turns[:1], step.messages).parsed.answers)
        assert step.shows_at is not None and [m for m in step.messages if m not in turns[1:]]
