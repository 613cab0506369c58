from collections import Counter

import pytest

from data_builders import build_role_swapped
from vlmalign.clinical import parse_text
from vlmalign.clinical.paths import valid_paths
from vlmalign.records import Case, DatasetBuild, Preference, read_manifest, read_records
from vlmalign.records.validation import validate_folder


@pytest.fixture
def truths(logic):
    paths = list(valid_paths(logic))
    return {f"c{k}": paths[(k * 29) % len(paths)] for k in range(24)}


def items_of(folder):
    items = {}
    for pair in read_records(folder, Preference):
        items.setdefault(pair.provenance["item"], []).append(pair)
    return items


def test_the_same_two_texts_are_preferred_both_ways_over_two_pictures(world, logic, truths):
    cases = world.cases("cases", truths)
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=20)
    items = items_of(out)
    assert len(items) == 20
    for first, second in items.values():
        assert (first.chosen, first.rejected) == (second.rejected, second.chosen)
        assert first.images != second.images and first.prompt == second.prompt
        assert first.provenance["groups"] == [first.group_id, second.group_id]
    assert not validate_folder(out)


def test_a_judge_of_text_alone_is_right_exactly_half_the_time(world, logic, truths):
    cases = world.cases("cases", truths)
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=15)
    pairs = read_records(out, Preference)
    for judge in (len, hash, lambda text: text.count("leukocyte")):
        right = sum(
            1.0 if judge(p.chosen[0].text) > judge(p.rejected[0].text)
            else 0.5 if judge(p.chosen[0].text) == judge(p.rejected[0].text)
            else 0.0
            for p in pairs
        )  # fmt: skip
        assert right == len(pairs) / 2


def test_each_text_is_true_of_its_own_picture_only(world, logic, truths):
    cases = world.cases("cases", truths)
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=20)
    for pair in read_records(out, Preference):
        truth = truths[pair.case_id]
        chosen, rejected = (parse_text(logic, side[0].text).answers for side in (pair.chosen, pair.rejected))
        assert all(truth[c] == v for c, v in chosen.items())
        assert any(truth[c] != v for c, v in rejected.items())


def test_hard_items_differ_in_exactly_one_observed_concept(world, logic, truths):
    cases = world.cases("cases", truths)
    hard = {"differ": "one", "concepts": ["leukocyte", "crowding", "platelets", "impression"]}
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=12, same_wording=True, **hard)
    for pair in read_records(out, Preference):
        differing = set(pair.provenance["differing"]) - {"impression"}
        assert len(differing) == 1
        one, other = (parse_text(logic, side[0].text) for side in (pair.chosen, pair.rejected))
        changed = [k for k, (a, b) in enumerate(zip(one.sentences, other.sentences, strict=True)) if a != b]
        assert 1 <= len(changed) <= 2


def test_cases_and_concepts_are_used_evenly(world, logic, truths):
    cases = world.cases("cases", truths)
    limits = ["leukocyte", "crowding", "platelets", "impression"]
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=24, concepts=limits, differ="one")
    uses = Counter(case for pair in read_records(out, Preference) for case in [pair.case_id])
    assert max(uses.values()) <= 4
    counts = read_manifest(out).counts
    assert counts["items"] == 24
    assert min(counts[f"differs_in:{c}"] for c in ("leukocyte", "crowding", "platelets")) >= 6


def test_items_that_cannot_be_made_are_counted(world, logic, full):
    cases = world.cases("cases", {"a": full, "b": {**full, "platelets": "many"}, "c": {}})
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=3)
    counts = read_manifest(out).counts
    assert (counts["items"], counts["items_missing"], counts["cases_without_knowledge"]) == (1, 2, 1)


def test_splits_never_mix(world, logic, full):
    train = world.cases("train", {"a": full})
    other = {**full, "platelets": "many"}
    test = world.cases("test", {"b": other}, split="test")
    with DatasetBuild(world.root / "both", "case", {}) as build:
        for folder in (train, test):
            (case,) = read_records(folder, Case)
            build.adopt(case.images[0], folder)
            build.commit(case.id, [case])
    out = build_role_swapped(world.root / "both", world.root / "out", logic=logic, n_items=1)
    assert read_manifest(out).counts["items_missing"] == 1


def test_expert_items_use_certain_findings_and_no_reference(world, logic, full):
    seen = {
        "a": {"leukocyte": "present", "crowding": "sparse"},
        "b": {"leukocyte": "absent", "crowding": "crowded"},
    }
    cases = world.cases("cases", dict.fromkeys("ab", full), reference=False)
    findings = world.findings("found", cases, seen, expert="net@7", probability=0.6)
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=1, answers=findings)
    first, second = sorted(read_records(out, Preference), key=lambda p: p.case_id)
    assert (first.source, first.expert_ids) == ("expert", ("net@7",))
    assert parse_text(logic, first.chosen[0].text).answers == {"crowding": "sparse"}
    assert parse_text(logic, second.chosen[0].text).answers["crowding"] == "crowded"


def test_candidates_own_texts_are_used_where_each_fits_its_picture_better(world, logic, full):
    other = {**full, "platelets": "many"}
    cases = world.cases("cases", {"a": full, "b": other})
    texts = {"a": [world.report(other), world.report(full)], "b": [world.report(other, seed=4), "qx zzt."]}
    sampled = world.candidates("sampled", texts)
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=1, candidates=sampled)
    first, second = sorted(read_records(out, Preference), key=lambda p: p.case_id)
    assert first.chosen[0].text == texts["a"][1] and second.chosen[0].text == texts["b"][0]
    assert first.margin == pytest.approx(2 / 7) and second.margin == pytest.approx(2 / 7)


def test_a_text_that_the_token_limit_cut_is_not_used_but_counted(world, logic, full):
    other = {**full, "platelets": "many"}
    cases = world.cases("cases", {"a": full, "b": other})
    sampled = world.candidates("s", {"a": [world.report(full)], "b": [world.report(other)]}, cut={"b/report/0"})
    out = build_role_swapped(cases, world.root / "out", logic=logic, n_items=1, candidates=sampled)
    counts = read_manifest(out).counts
    assert (counts["records"], counts["items_missing"], counts["unfinished"]) == (0, 1, 1)
