import itertools

import pytest

from vlmalign.clinical import derive, is_consistent, parse_text, render_report
from vlmalign.clinical.paths import forced_values, holds, rule_values, valid_paths
from vlmalign.clinical.rules import Condition


@pytest.mark.parametrize("answers", [{"crowding": "packed"}, {"crowdedness": "crowded"}])
def test_nothing_is_derived_from_a_concept_or_value_that_the_logic_does_not_have(smear, answers):
    with pytest.raises(ValueError, match="crowd"):
        derive(smear, answers)


def test_smear_has_the_paths_counted_by_hand(smear):
    # focus 2 x stain 3 x (leukocyte, kind) 3 x crowding 3 x platelets 3; the impression follows
    paths = list(valid_paths(smear))
    assert len(paths) == 2 * 3 * 3 * 3 * 3
    assert len({tuple(path.items()) for path in paths}) == len(paths)


def test_search_agrees_with_enumeration_of_the_full_product(smear):
    valid = {tuple(sorted(path.items())) for path in valid_paths(smear)}
    names = smear.order
    for values in itertools.product(*(smear.concepts[name].values for name in names)):
        answers = dict(zip(names, values, strict=True))
        assert is_consistent(smear, answers) == (tuple(sorted(answers.items())) in valid)


def test_partial_answers_are_consistent_exactly_when_some_path_extends_them(smear):
    paths = list(valid_paths(smear))
    names = ("leukocyte", "leukocyte_kind", "crowding", "platelets", "impression")
    for pair in itertools.combinations(names, 2):
        for values in itertools.product(*(smear.concepts[name].values for name in pair)):
            answers = dict(zip(pair, values, strict=True))
            extends = any(all(path[k] == v for k, v in answers.items()) for path in paths)
            assert is_consistent(smear, answers) == extends, answers


@pytest.mark.parametrize(
    ("answers", "consistent"),
    [
        ({}, True),
        ({"leukocyte": "absent", "leukocyte_kind": "segmented"}, False),
        ({"leukocyte": "present", "leukocyte_kind": "not_applicable"}, False),
        ({"crowding": "crowded", "impression": "leukocyte_field"}, False),
        ({"impression": "leukocyte_field", "leukocyte": "absent"}, False),
        ({"impression": "leukocyte_field", "leukocyte_kind": "not_applicable"}, False),  # through two rules
        ({"impression": "red_cell_field", "platelets": "few"}, False),
        ({"impression": "platelet_field", "platelets": "few", "crowding": "sparse"}, True),
        ({"stain": "contradictory"}, False),
        ({"leukocyte": "uncertain", "leukocyte_kind": "segmented"}, True),
    ],
)
def test_consistency_worked_by_hand(smear, answers, consistent):
    assert is_consistent(smear, answers) is consistent


def test_unknown_concepts_and_values_are_refused(smear):
    with pytest.raises(ValueError, match="'heart' is not in peripheral_smear"):
        is_consistent(smear, {"heart": "large"})
    with pytest.raises(ValueError, match="stain = 'blue' is not in peripheral_smear: choose one of"):
        is_consistent(smear, {"stain": "blue"})


@pytest.mark.parametrize(
    ("answers", "impression"),
    [
        ({"crowding": "crowded"}, "thick_area"),
        ({"crowding": "sparse", "leukocyte": "present"}, "leukocyte_field"),
        ({"crowding": "sparse", "leukocyte": "absent", "platelets": "none"}, "red_cell_field"),
        ({"crowding": "moderate", "leukocyte": "absent", "platelets": "many"}, "platelet_field"),
        ({"leukocyte": "present"}, None),  # could still be a thick area
        ({"crowding": "uncertain", "leukocyte": "present"}, None),
        ({"crowding": "sparse", "leukocyte": "absent"}, None),
    ],
)
def test_impression_is_derived_only_when_determined(smear, answers, impression):
    assert derive(smear, answers).get("impression") == impression


def test_derive_keeps_given_answers_and_does_not_touch_its_argument(smear):
    answers = {"crowding": "crowded", "impression": "platelet_field"}
    assert derive(smear, answers) == answers
    given = {"crowding": "crowded"}
    derive(smear, given)
    assert given == {"crowding": "crowded"}


def test_forced_values_follow_through_the_rules_in_both_directions(smear):
    assert forced_values(smear, {"leukocyte_kind": "segmented"}) == {"leukocyte": "present"}
    forced = forced_values(smear, {"impression": "red_cell_field"})
    assert forced == {"leukocyte": "absent", "leukocyte_kind": "not_applicable", "platelets": "none"}
    assert forced_values(smear, {"leukocyte": "absent", "leukocyte_kind": "segmented"}) == {}


def test_rendering_then_parsing_is_the_identity_on_all_valid_paths(smear):
    seen = set()
    for seed, path in enumerate(valid_paths(smear)):
        for bank in ("train", "test"):
            text = render_report(smear, path, seed=seed, bank=bank)
            assert parse_text(smear, text).answers == path
            seen.add(text)
    assert len(seen) == 2 * 162  # no two paths share a text


def test_flipping_one_concept_flips_exactly_that_parse(smear):
    path = next(valid_paths(smear, {"leukocyte": "present", "crowding": "sparse"}))
    before = render_report(smear, path, seed=5)
    for name in smear.order:
        for value in smear.concepts[name].values:
            text = render_report(smear, {**path, name: value}, seed=5)
            assert parse_text(smear, text).answers == {**path, name: value}
            changed = [a != b for a, b in zip(before.split(". "), text.split(". "), strict=True)]
            assert sum(changed) == (value != path[name])


def test_three_valued_conditions_by_hand():
    condition = Condition.model_validate(
        {"any": [{"a": "yes"}, {"b": ["yes", "maybe"]}], "not": {"c": "yes"}}
    )  # (a or b) and not c
    assert condition.concepts == {"a", "b", "c"}
    assert holds(condition, {"a": "yes", "c": "no"}) is True
    assert holds(condition, {"b": "maybe", "c": "no"}) is True
    assert holds(condition, {"c": "yes"}) is False
    assert holds(condition, {"a": "no", "b": "no"}) is False
    assert holds(condition, {"a": "no", "c": "no"}) is None
    assert holds(condition, {"a": "yes"}) is None


def test_undecided_rules_leave_all_their_values_open(smear):
    rules = smear.concepts["impression"].derived
    assert rule_values(rules, {}) == ("thick_area", "leukocyte_field", "red_cell_field", "platelet_field")
    assert rule_values(rules, {"leukocyte": "present"}) == ("thick_area", "leukocyte_field")


def test_fourteen_findings_are_decided_without_enumerating_them(chest, in_good_time):
    with in_good_time(2.0):
        normal = {"conclusion": "normal"}
        assert is_consistent(chest, normal)
        assert not is_consistent(chest, {**normal, "hernia": "present"})
        assert set(forced_values(chest, normal).values()) == {"absent"}
        for unopened in ({"edema": "present"}, {"pneumonia": "present", "consolidation": "absent"}):
            assert not is_consistent(chest, {**unopened, "lung_opacity": "absent"})
        assert not is_consistent(chest, {"pneumothorax": "present", "hernia": "present"})
        absent = {name: "absent" for name in chest.order if name not in ("conclusion", "fracture")}
        assert forced_values(chest, {**absent, "conclusion": "abnormal"}) == {"fracture": "present"}
        for path in itertools.islice(valid_paths(chest), 50):
            assert is_consistent(chest, path)
            text = render_report(chest, path, seed=1)
            assert parse_text(chest, text).answers == path
