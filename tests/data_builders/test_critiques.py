import pytest

from data_builders import build_critiques, build_role_swapped
from vlmalign.clinical.critique import check_critique, parse_critique
from vlmalign.clinical.parser import parse_conversation
from vlmalign.clinical.paths import valid_paths
from vlmalign.records import DataError, DatasetBuild, Preference, RecordFolder, assistant, read_manifest
from vlmalign.records.validation import validate_folder


@pytest.fixture
def truths(logic):
    paths = list(valid_paths(logic))
    return {f"c{k}": paths[(k * 29) % len(paths)] for k in range(12)}


@pytest.fixture
def swapped(world, logic, truths):
    cases = world.cases("cases", truths)
    return cases, build_role_swapped(cases, world.root / "pairs", logic=logic, n_items=10)


def test_every_critique_is_read_back_and_agrees_with_answer_and_truth(world, logic, truths, swapped):
    cases, pairs = swapped
    out = build_critiques(pairs, cases, world.root / "out", logic=logic)
    records = list(RecordFolder(out, Preference))
    assert len(records) == 20 and not validate_folder(out)
    for pair in records:
        for turns, text in ((pair.chosen, pair.chosen_critique), (pair.rejected, pair.rejected_critique)):
            critique = parse_critique(logic, text)
            checked = check_critique(logic, critique, parse_conversation(logic, turns), truths[pair.case_id])
            assert (checked.share, checked.missed, checked.unrecognised) == (1.0, (), 0)
        wrong = [c for c in parse_critique(logic, pair.rejected_critique).judged if c.verdict == "wrong"]
        assert {c.concept for c in wrong} == set(pair.provenance["differing"])


def test_a_pair_whose_case_nothing_is_known_of_is_left_out_and_counted(world, logic, truths, swapped):
    cases, pairs = swapped
    known = dict(list(truths.items())[:6])
    findings = world.findings("findings", cases, known)
    out = build_critiques(pairs, cases, world.root / "out", logic=logic, answers=[findings])
    left = [pair for pair in RecordFolder(pairs, Preference) if pair.case_id in known]
    manifest = read_manifest(out)
    assert [pair.id for pair in RecordFolder(out, Preference)] == [pair.id for pair in left]
    assert manifest.counts["pairs_without_knowledge"] == 20 - len(left) > 0


def test_an_answer_without_claims_gets_a_critique_that_says_so_and_is_counted(world, logic, swapped):
    cases, pairs = swapped
    folder = RecordFolder(pairs, Preference)
    pair = next(iter(folder))
    silent = pair.model_copy(update={"rejected": (assistant("Lovely weather."),)})
    with DatasetBuild(world.root / "silent", "preference", {}) as build:
        build.adopt(pair.images[0], folder.path)
        build.commit(pair.id, [silent])
    out = build_critiques(world.root / "silent", cases, world.root / "out", logic=logic)
    (record,) = RecordFolder(out, Preference)
    assert record.rejected_critique.startswith("Claim: none.")
    assert read_manifest(out).counts["answers_without_claims"] == 1


def test_pairs_of_other_cases_are_refused(world, logic, truths, swapped):
    _, pairs = swapped
    few = world.cases("few", dict(list(truths.items())[:2]))
    with pytest.raises(DataError, match="field 'case_id': case_id .* is not in the case folder"):
        build_critiques(pairs, few, world.root / "out", logic=logic)


def test_concepts_out_of_scope_are_neither_confirmed_nor_missed(world, logic, truths, swapped):
    cases, pairs = swapped
    out = build_critiques(pairs, cases, world.root / "out", logic=logic, concepts=["leukocyte"])
    for pair in RecordFolder(out, Preference):
        verdicts = {c.concept: c.verdict for c in parse_critique(logic, pair.rejected_critique).judged}
        assert verdicts.pop("leukocyte", "wrong") in ("right", "wrong")
        assert set(verdicts.values()) <= {"unverified"}
    with pytest.raises(ValueError, match="concept 'colour' is not in peripheral_smear"):
        build_critiques(pairs, cases, world.root / "x", logic=logic, concepts=["colour"])
