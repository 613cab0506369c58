"""Pairs of conversations of which the rejected one breaks one named step."""

from collections import Counter

import pytest

from data_builders.broken_steps import BrokenStepConfig, break_steps, build_broken_steps
from data_builders.reading import read_answer
from vlmalign.clinical import is_consistent, render_conversation
from vlmalign.records import Candidate, Case, Preference, RecordFolder, Sampling, read_manifest, read_records
from vlmalign.records.validation import validate_folder
from vlmalign.rewards.process import ProcessReward


@pytest.fixture
def cases(world, full):
    empty = {**full, "leukocyte": "absent", "leukocyte_kind": "not_applicable", "impression": "platelet_field"}
    return world.cases("cases", {"a": full, "b": empty, "c": {}})


@pytest.fixture
def build(world, logic, cases):
    def run(name="out", **settings):
        return build_broken_steps(cases, world.root / name, logic=logic, steps=BrokenStepConfig(**settings))

    return run


def answers_of(logic, pair, side):
    return read_answer(logic, pair.prompt, side).parsed.answers


def test_one_turn_is_broken_and_all_others_are_the_same(logic, build):
    out = build(conversations_per_case=6, steps_per_conversation=3)
    pairs = read_records(out, Preference)
    assert len(pairs) == 36 and not validate_folder(out)
    for pair in pairs:
        step = pair.provenance["broken_step"]
        different = [k for k, (a, b) in enumerate(zip(pair.chosen, pair.rejected, strict=True)) if a != b]
        assert different == [step["turn"]] and step["question"] == step["turn"] // 2
        right, wrong = (answers_of(logic, pair, side) for side in (pair.chosen, pair.rejected))
        claim = pair.changed_claim
        assert wrong == {**right, claim.concept: claim.rejected} and right[claim.concept] == claim.chosen
        assert is_consistent(logic, right) and not is_consistent(logic, wrong)
        assert step["shows_at"] >= 0 and pair.prompt[0].n_images == 1


def test_in_an_order_with_the_conclusion_first_the_break_shows_after_the_step(build):
    out = build(orders={"impression_first": 1}, concepts=["impression"], conversations_per_case=4)
    steps = [pair.provenance["broken_step"] for pair in read_records(out, Preference)]
    assert {step["turn"] for step in steps} == {0} and all(step["shows_at"] > 0 for step in steps)
    out = build("canonical", orders={"canonical": 1}, concepts=["impression"], conversations_per_case=4)
    steps = [pair.provenance["broken_step"] for pair in read_records(out, Preference)]
    assert all(step["turn"] == step["shows_at"] == 12 for step in steps)  # the last of seven questions


def test_a_process_reward_finds_the_step_that_the_record_names(build, cases):
    out = build(conversations_per_case=4, steps_per_conversation=2)
    known = {case.id: case for case in RecordFolder(cases, Case)}
    pairs = read_records(out, Preference)
    sides = [(pair, side) for pair in pairs for side in ("chosen", "rejected")]
    found = ProcessReward("logic", settings={"logic": "peripheral_smear"}, unscored="skip").score(
        [known[pair.case_id] for pair, _ in sides],
        [
            Candidate(
                id=f"{pair.id}/{side}",
                case_id=pair.case_id,
                messages=getattr(pair, side),
                policy="none@0",
                sampling=Sampling(max_new_tokens=9),
                seed=0,
                extra={"first_question": pair.prompt[-1].text},
            )
            for pair, side in sides
        ],
    )
    worst = found.components["worst_turn"]
    for (pair, side), score, turn in zip(sides, found.mean, worst, strict=True):
        assert score == (1.0 if side == "chosen" else 0.0)
        if side == "rejected":
            assert turn == pair.provenance["broken_step"]["question"]


def test_steps_without_a_rule_are_broken_only_when_being_wrong_is_enough(logic, full):
    turns = render_conversation(logic, full, seed=0)
    by_logic = {step.concept for step in break_steps(logic, turns[:1], turns[1:], seed=0)}
    steps = {step.concept: step for step in break_steps(logic, turns[:1], turns[1:], seed=0, breaks="any")}
    assert by_logic == {"leukocyte", "leukocyte_kind", "crowding", "impression"}
    assert set(steps) == set(full) and steps["focus"].shows_at is None


def test_orders_and_what_was_left_out_are_counted(build):
    counts = read_manifest(build(conversations_per_case=40)).counts
    assert (counts["cases"], counts["cases_without_knowledge"], counts["conversations"]) == (3, 1, 80)
    assert counts["order:canonical"] + counts["order:impression_first"] + counts["order:shuffled"] == 80
    assert counts["order:canonical"] > counts["order:shuffled"] > 5
    none = read_manifest(build("none", concepts=["stain"])).counts
    assert none["conversations_without_breakable_step"] == 2 and none["records"] == 0


def test_the_steps_of_one_conversation_share_what_is_chosen(build):
    pairs = read_records(build(steps_per_conversation=9), Preference)
    of_case = Counter((pair.case_id, pair.chosen) for pair in pairs)
    # without a leukocyte the number of platelets decides the impression, so that it can be broken too
    assert {case: n for (case, _), n in of_case.items()} == {"a": 4, "b": 5} and len(of_case) == 2
    assert len({(pair.case_id, pair.changed_claim.concept) for pair in pairs}) == len(pairs)


def test_a_killed_build_continues_to_the_same_bytes(world, build, killed, bytes_of):
    whole = build("whole")
    killed(lambda: build("broken"), 1)
    build("broken")
    assert bytes_of(world.root / "broken") == bytes_of(whole)


@pytest.mark.parametrize("settings", [{"orders": {"random": 1}}, {"orders": {"canonical": 0}}, {"steps": 3}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError):
        BrokenStepConfig(**settings)
