"""Folders of pairs whose rejected side is the chosen one with one claim corrupted."""

import pytest

from data_builders.corruption_pairs import CorruptionConfig, build_corruptions
from data_builders.demonstrations import build_demonstrations
from data_builders.statements import difference
from vlmalign.records import DataError, Preference, read_manifest, read_records
from vlmalign.records.validation import validate_folder


@pytest.fixture
def cases(world, full):
    return world.cases(
        "cases", {n: {**full, "platelets": p} for n, p in zip("abc", ("none", "few", "many"), strict=True)}
    )


@pytest.fixture
def demonstrations(world, logic, cases):
    return build_demonstrations(cases, world.root / "demos", logic=logic, findings="reference")


def test_pairs_of_demonstrations_differ_in_the_recorded_claim_alone(world, logic, demonstrations, cases):
    config = CorruptionConfig(per_text=4)
    out = build_corruptions(demonstrations, world.root / "out", logic=logic, corruption=config)
    pairs, counts = read_records(out, Preference), read_manifest(out).counts
    assert not validate_folder(out) and counts["texts"] == 6
    for pair in pairs:
        read = difference(logic, pair.prompt, pair.chosen, pair.rejected)
        claim = pair.changed_claim
        assert read.only_claims and read.claims == {claim.concept: (claim.chosen, claim.rejected)}
        assert pair.source == "symbolic" and pair.judge_ids == ("corruption@1",)
    kinds = {pair.provenance["corruption"]["kind"] for pair in pairs}
    assert sum(n for name, n in counts.items() if name.startswith("made:")) == len(pairs) == 24
    assert kinds == {name[5:] for name in counts if name.startswith("made:")} >= {"flip", "drop", "contradict"}
    assert counts["not_applicable:laterality"] and len({(p.chosen, p.rejected) for p in pairs}) == 24


def test_candidates_are_used_only_where_they_are_verified_right(world, logic, full):
    cases = world.cases("cases", {"a": full, "b": full, "c": full, "d": full}, reference=True)
    wrong = world.report({**full, "crowding": "crowded", "impression": "thick_area"})
    sampled = world.candidates(
        "sampled",
        {"a": [world.report(full)], "b": [wrong], "c": ["Blue moon."], "d": [world.report(full)]},
        cut=["d/report/0"],
    )
    findings = world.findings(
        "found", cases, {n: {"leukocyte": "present", "crowding": "moderate"} for n in "abcd"}
    )
    config = CorruptionConfig(per_text=9, shares={"flip": 1, "drop": 1})
    out = build_corruptions(
        sampled, world.root / "out", logic=logic, cases=cases, findings=[findings], corruption=config
    )
    pairs, counts = read_records(out, Preference), read_manifest(out).counts
    assert {pair.case_id for pair in pairs} == {"a"}
    assert (counts["texts_not_right"], counts["texts_without_claims"], counts["texts_unfinished"]) == (1, 1, 1)
    verified = {"leukocyte", "crowding", "impression"}  # what the expert sees, and what follows from it
    assert {pair.changed_claim.concept for pair in pairs} <= verified
    assert {pair.expert_ids for pair in pairs} == {("hand@1",)}


def test_labelled_reports_are_taken_at_their_word_unless_findings_say_otherwise(world, logic, full):
    texts = {"a": "No leukocyte is seen in the field.", "b": "A leukocyte is seen in the field."}
    cases = world.cases("cases", {"a": full, "b": full}, texts=texts)
    free = build_corruptions(cases, world.root / "free", logic=logic)
    held = build_corruptions(cases, world.root / "held", logic=logic, findings="reference")
    assert {p.case_id for p in read_records(free, Preference)} == {"a", "b"}
    assert {p.case_id for p in read_records(held, Preference)} == {"b"}
    assert read_manifest(held).counts["texts_not_right"] == 1
    bare = world.cases("bare", {"a": full, "b": full}, texts=texts, findings=False)
    other = build_corruptions(bare, world.root / "other", logic=logic, cases=cases, findings="reference")
    assert {p.case_id for p in read_records(other, Preference)} == {"b"}


def test_a_killed_build_continues_to_the_same_bytes(world, logic, demonstrations, killed, bytes_of):
    def build(out):
        return build_corruptions(demonstrations, out, logic=logic)

    whole, broken = build(world.root / "whole"), world.root / "broken"
    killed(lambda: build(broken), 2)
    build(broken)
    assert bytes_of(broken) == bytes_of(whole)


def test_another_seed_gives_other_pairs(world, logic, demonstrations):
    one, other = (
        build_corruptions(
            demonstrations, world.root / f"out{seed}", logic=logic, corruption=CorruptionConfig(seed=seed)
        )
        for seed in (0, 1)
    )
    assert read_records(one, Preference) != read_records(other, Preference)


def test_what_cannot_be_verified_is_refused_before_anything_is_written(world, logic, cases):
    sampled = world.candidates("sampled", {"a": ["No leukocyte is seen."]})
    out = world.root / "out"
    with pytest.raises(DataError, match="Pass the case folder"):
        build_corruptions(sampled, out, logic=logic)
    with pytest.raises(ValueError, match="must be verified"):
        build_corruptions(sampled, out, logic=logic, cases=cases)
    with pytest.raises(ValueError, match="shares is"):
        CorruptionConfig(shares={"flip": 0})
    with pytest.raises(ValueError, match="colour"):
        build_corruptions(cases, out, logic=logic, corruption=CorruptionConfig(concepts=("colour",)))
    assert not out.exists()
