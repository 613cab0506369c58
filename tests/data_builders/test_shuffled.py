from collections import Counter

import pytest

from data_builders import build_best_of_n, build_expert_pairs, build_shuffled
from data_builders.shuffled import derangement
from vlmalign.records import DataError, Demonstration, Preference, read_records
from vlmalign.records.validation import validate_folder


@pytest.fixture
def pairs(world, logic, full):
    names = [f"c{k}" for k in range(9)]
    groups = {name: f"g{k // 2}" for k, name in enumerate(names)}
    truths = dict.fromkeys(names, full)
    cases = world.cases("cases", truths, groups=groups, reference=False)
    findings = world.findings("found", cases, truths)
    said = {n: [world.report(full), world.report({**full, "platelets": "many"})] for n in names}
    sampled = world.candidates("sampled", said)
    return build_expert_pairs(cases, sampled, findings, world.root / "pairs", logic=logic)


@pytest.mark.parametrize("seed", range(20))
def test_a_derangement_is_a_permutation_that_leaves_every_group(seed):
    groups = ["a"] * 5 + ["b"] * 3 + ["c"] * 2
    source = derangement(groups, seed=seed)
    assert sorted(source) == list(range(10))
    assert all(groups[k] != groups[source[k]] for k in range(10))


def test_derangements_differ_by_seed():
    groups = [str(k) for k in range(12)]
    assert len({tuple(derangement(groups, seed=s)) for s in range(20)}) == 20


def test_a_group_of_more_than_half_cannot_be_deranged():
    with pytest.raises(ValueError, match="group 'a' holds 3 of 5"):
        derangement(["a", "a", "a", "b", "c"], seed=0)
    assert derangement([], seed=0) == []


def test_every_image_moves_to_another_group_and_the_answers_stay(world, pairs):
    out = build_shuffled(pairs, world.root / "out", seed=3)
    before, after = read_records(pairs, Preference), read_records(out, Preference)
    group_of = {p.images[0].sha256: p.group_id for p in before}
    for old, new in zip(before, after, strict=True):
        assert (new.id, new.prompt, new.chosen, new.rejected) == (old.id, old.prompt, old.chosen, old.rejected)
        assert group_of[new.images[0].sha256] == new.group_id != old.group_id
        assert new.provenance["answers_of"] == {"case_id": old.case_id, "group_id": old.group_id}
        assert new.provenance["control"] == "shuffled_images"
    assert Counter(p.images[0].sha256 for p in before) == Counter(p.images[0].sha256 for p in after)
    assert not validate_folder(out)


def test_pairs_of_one_group_cannot_be_shuffled(world, logic, full):
    cases = world.cases("one", {"a": full}, reference=False)
    findings = world.findings("f", cases, {"a": full})
    said = [world.report(full), world.report({**full, "platelets": "many"})]
    sampled = world.candidates("s", {"a": said})
    pairs = build_expert_pairs(cases, sampled, findings, world.root / "p", logic=logic)
    with pytest.raises(DataError, match="more groups"):
        build_shuffled(pairs, world.root / "out", seed=3)


def test_best_of_n_imitates_exactly_the_chosen_answers(world, pairs):
    out = build_best_of_n(pairs, world.root / "out")
    records = read_records(out, Demonstration)
    for pair, record in zip(read_records(pairs, Preference), records, strict=True):
        assert (record.prompt, record.response, record.images) == (pair.prompt, pair.chosen, pair.images)
        assert record.provenance["candidate"] == pair.provenance["chosen_candidate"]
    assert {r.source for r in records} == {"best_of_n"}
    assert not validate_folder(out)
