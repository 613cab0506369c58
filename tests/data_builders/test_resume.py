"""A build that dies in the middle and is started again ends with the same bytes."""

import pytest

import data_builders as db
from vlmalign.records import RecordFolder
from vlmalign.records.manifest import KINDS, read_manifest


@pytest.fixture
def builds(world, logic, full):
    """Every builder over five cases, as functions of the output folder alone."""
    names = "abcde"
    truths = {n: {**full, "platelets": ["none", "few", "many"][k % 3]} for k, n in enumerate(names)}
    cases = world.cases("cases", truths)
    findings = world.findings("found", cases, truths)
    wrong = {**full, "crowding": "crowded"}
    sampled = world.candidates("sampled", {n: [world.report(truths[n]), world.report(wrong)] for n in names})
    reports = db.write_noisy_reports(cases, world.root / "reports", logic=logic, seed=0)
    pairs = db.build_expert_pairs(cases, sampled, findings, world.root / "pairs", logic=logic)
    from_candidates = (cases, sampled, findings)
    return {
        "noise": lambda out: db.write_noisy_reports(cases, out, logic=logic, seed=0),
        "filter": lambda out: db.filter_unsupported(reports, out, logic=logic),
        "demonstrations": lambda out: db.build_demonstrations(reports, out, logic=logic),
        "symbolic": lambda out: db.build_symbolic_pairs(cases, sampled, out, logic=logic),
        "expert": lambda out: db.build_expert_pairs(*from_candidates, out, logic=logic),
        "edits": lambda out: db.build_edits(*from_candidates, out, logic=logic),
        "edit_pairs": lambda out: db.build_edit_pairs(*from_candidates, out, logic=logic, per_case=2),
        "best_of_n": lambda out: db.build_best_of_n(pairs, out),
        "shuffled": lambda out: db.build_shuffled(pairs, out, seed=0),
        "role_swapped": lambda out: db.build_role_swapped(cases, out, logic=logic, n_items=4),
    }


NAMES = (
    "noise", "filter", "demonstrations", "symbolic", "expert", "edits", "edit_pairs", "best_of_n", "shuffled",
    "role_swapped",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_build_continues_to_the_same_bytes(world, builds, killed, bytes_of, name):
    whole = builds[name](world.root / "whole")
    broken = world.root / "broken"
    for _ in range(2):
        killed(lambda: builds[name](broken), 2)
        assert not (broken / "manifest.json").exists()
    builds[name](broken)
    assert bytes_of(broken) == bytes_of(whole)
    assert len(RecordFolder(whole, KINDS[read_manifest(whole).kind])) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_config_names_no_path_and_a_finished_build_is_left_alone(world, builds, bytes_of, name):
    out = builds[name](world.root / "out")
    assert str(world.root) not in (out / "manifest.json").read_text()
    before = bytes_of(out)
    assert builds[name](out) == out and bytes_of(out) == before
