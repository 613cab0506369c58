"""Symbolic and expert pairs, and what they may look at."""

import pytest

from data_builders import PairingConfig, build_best_of_n, build_expert_pairs, build_symbolic_pairs
from vlmalign.records import Case, DataError, Demonstration, Preference, Reference, read_manifest, read_records
from vlmalign.records.validation import validate_folder


@pytest.fixture
def sampled(world, full):
    """One case with a right, a half-right, a gibberish and a repeated answer."""
    wrong = {**full, "platelets": "many", "crowding": "crowded"}
    said = [world.report(full), world.report(wrong), "qx zzt.", world.report(full)]
    return world.candidates("sampled", {"a": said})


def test_symbolic_pairs_prefer_what_the_reference_says(world, logic, full, sampled):
    cases = world.cases("cases", {"a": full})
    out = build_symbolic_pairs(cases, sampled, world.root / "out", logic=logic)
    (pair,) = read_records(out, Preference)
    assert (pair.source, pair.judge_ids) == ("symbolic", ("symbolic@2",))
    assert pair.provenance["chosen_candidate"] == "a/report/0"
    # 5 of 7 right and 2 wrong against 7 of 7: (7 - 3) / 7, and crowded contradicts the impression: 0.5
    assert pair.margin == pytest.approx(4 / 7 + 0.5)
    counts = read_manifest(out).counts
    assert (counts["duplicates"], counts["invalid:nothing_parsed"], counts["candidates"]) == (1, 1, 4)
    assert pair.provenance["length"]["words_difference"] == (
        pair.provenance["length"]["chosen_words"] - pair.provenance["length"]["rejected_words"]
    )
    assert not validate_folder(out)


def test_expert_pairs_check_only_what_the_expert_sees(world, logic, full):
    cases = world.cases("cases", {"a": full}, reference=False)
    findings = world.findings("found", cases, {"a": {"leukocyte": "present"}}, expert="net@7")
    unseen = {**full, "stain": "dark", "focus": "blurred"}
    sampled = world.candidates("sampled", {"a": [world.report(full), world.report(unseen)]})
    out = build_expert_pairs(cases, sampled, findings, world.root / "out", logic=logic)
    assert read_records(out, Preference) == []
    assert read_manifest(out).counts["ties"] == 1


def test_expert_pairs_name_their_experts(world, logic, full, sampled):
    cases = world.cases("cases", {"a": full}, reference=False)
    findings = world.findings("found", cases, {"a": full}, expert="net@7")
    out = build_expert_pairs(cases, sampled, findings, world.root / "out", logic=logic)
    (pair,) = read_records(out, Preference)
    assert (pair.source, pair.expert_ids) == ("expert", ("net@7",))
    assert not validate_folder(out)


def test_uncertain_findings_decide_nothing(world, logic, full):
    cases = world.cases("cases", {"a": full}, reference=False)
    seen = {"leukocyte": "present", "crowding": "moderate"}
    findings = world.findings("found", cases, {"a": seen}, probability=0.6)
    wrong_where_uncertain = {**full, "leukocyte": "absent", "leukocyte_kind": "not_applicable"}
    del wrong_where_uncertain["impression"]
    right = {k: v for k, v in full.items() if k != "impression"}
    sampled = world.candidates("sampled", {"a": [world.report(right), world.report(wrong_where_uncertain)]})
    out = build_expert_pairs(cases, sampled, findings, world.root / "out", logic=logic)
    counts = read_manifest(out).counts
    assert (counts["records"], counts["ties"], counts["uncertain_concepts"]) == (0, 1, 1)


def test_the_expert_builder_gives_the_same_pairs_with_and_without_hidden_answers(
    world, logic, full, sampled, bytes_of, monkeypatch
):
    lies = {**full, "leukocyte": "absent", "platelets": "many"}
    known = world.cases("known", {"a": lies})
    unknown = world.cases("unknown", {"a": full}, reference=False)
    findings = world.findings("found", unknown, {"a": full})

    def read(self, name, real=Case.__getattribute__):
        assert name != "reference", "the expert builder read a reference"
        return real(self, name)

    first = build_expert_pairs(unknown, sampled, findings, world.root / "one", logic=logic)
    monkeypatch.setattr(Case, "__getattribute__", read)
    second = build_expert_pairs(known, sampled, findings, world.root / "two", logic=logic)
    monkeypatch.undo()
    assert bytes_of(first)["records.jsonl"] == bytes_of(second)["records.jsonl"]


def test_symbolic_pairs_leave_out_cases_without_known_answers(world, logic, full, sampled):
    cases = world.cases("cases", {"a": full, "b": full}, reference=False)
    assert read_records(cases, Case)[0].reference is None
    counts = read_manifest(build_symbolic_pairs(cases, sampled, world.root / "out", logic=logic)).counts
    assert (counts["cases_without_knowledge"], counts["cases_without_candidates"], counts["records"]) == (1, 1, 0)


def test_a_reference_text_is_no_knowledge(world, logic, full, sampled):
    cases = world.cases("cases", {"a": full}, texts={"a": "No leukocyte is seen."}, findings=False)
    assert read_records(cases, Case)[0].reference == Reference(text="No leukocyte is seen.")
    out = build_symbolic_pairs(cases, sampled, world.root / "out", logic=logic)
    assert read_manifest(out).counts["cases_without_knowledge"] == 1


def test_the_first_findings_folder_that_knows_a_case_decides(world, logic, full, sampled):
    cases = world.cases("cases", {"a": full}, reference=False)
    masks = world.findings("masks", cases, {"a": full}, expert="masks@1")
    net = world.findings("net", cases, {"a": {**full, "platelets": "many"}}, expert="net@7")
    out = build_expert_pairs(cases, sampled, [masks, net], world.root / "out", logic=logic)
    assert read_records(out, Preference)[0].expert_ids == ("masks@1",)
    out = build_expert_pairs(cases, sampled, [net, masks], world.root / "other", logic=logic)
    assert read_records(out, Preference)[0].expert_ids == ("net@7",)


def test_conversations_are_judged_by_what_they_were_asked(world, logic, full):
    cases = world.cases("cases", {"a": full}, reference=False)
    findings = world.findings("found", cases, {"a": full})
    asked = {"leukocyte": "present", "platelets": "few"}
    said = [world.conversation(asked), world.conversation({**asked, "platelets": "none"})]
    said.append([(question, "Hm.") for question, _ in said[0]])
    sampled = world.candidates("sampled", {"a": said})
    out = build_expert_pairs(cases, sampled, findings, world.root / "out", logic=logic)
    (pair,) = read_records(out, Preference)
    assert pair.margin == pytest.approx(1.0)  # one of two answers wrong: 1 - 0
    assert pair.prompt[-1].text == said[0][0][0]
    assert read_manifest(out).counts["invalid:nothing_parsed"] == 1


def test_answers_to_different_questions_are_never_compared(world, logic, full):
    cases = world.cases("cases", {"a": full})
    said = [world.report(full), world.conversation({**full, "platelets": "many"})]
    sampled = world.candidates("sampled", {"a": said})
    out = build_symbolic_pairs(cases, sampled, world.root / "out", logic=logic)
    assert read_manifest(out).counts["cases_without_pair"] == 2


def test_a_candidate_of_an_unknown_case_is_refused_by_name(world, logic, full):
    cases = world.cases("cases", {"a": full})
    sampled = world.candidates("sampled", {"zebra": [world.report(full)]})
    with pytest.raises(DataError, match="zebra.*generated from"):
        build_symbolic_pairs(cases, sampled, world.root / "out", logic=logic)


def test_another_pairing_on_the_same_folder_is_refused(world, logic, full, sampled):
    cases = world.cases("cases", {"a": full})
    out = build_symbolic_pairs(cases, sampled, world.root / "out", logic=logic)
    with pytest.raises(DataError, match="pairing"):
        build_symbolic_pairs(cases, sampled, out, logic=logic, pairing=PairingConfig(min_margin=0.5))


@pytest.fixture
def cut_best(world, full):
    """Of three answers the best was cut by the token limit."""
    wrong = {**full, "platelets": "many"}
    worse = {**wrong, "crowding": "crowded", "impression": "thick_area"}
    said = [world.report(full), world.report(wrong), world.report(worse)]
    return world.candidates("cut", {"a": said}, cut={"a/report/0"})


def test_an_answer_that_the_token_limit_cut_is_never_chosen_but_counted(world, logic, full, cut_best):
    cases = world.cases("cases", {"a": full})
    out = build_symbolic_pairs(cases, cut_best, world.root / "out", logic=logic)
    (pair,) = read_records(out, Preference)
    assert (pair.provenance["chosen_candidate"], pair.provenance["rejected_candidate"]) == (
        "a/report/1",
        "a/report/2",
    )
    counts = read_manifest(out).counts
    assert (counts["invalid"], counts["invalid:unfinished"]) == (1, 1)
    imitated = read_records(build_best_of_n(out, world.root / "best"), Demonstration)
    assert [record.provenance["candidate"] for record in imitated] == ["a/report/1"]


def test_a_cut_answer_may_be_the_rejected_side_as_other_invalid_ones(world, logic, full):
    cases = world.cases("cases", {"a": full})
    said = [world.report(full)[:-9], world.report(full)]
    sampled = world.candidates("sampled", {"a": said}, cut={"a/report/0"})
    assert read_records(build_symbolic_pairs(cases, sampled, world.root / "no", logic=logic), Preference) == []
    pairing = PairingConfig(invalid_as_rejected=True)
    out = build_symbolic_pairs(cases, sampled, world.root / "out", logic=logic, pairing=pairing)
    (pair,) = read_records(out, Preference)
    assert pair.provenance["rejected_candidate"] == "a/report/0"
    assert (pair.margin, pair.provenance["rejected_score"]) == (None, {"invalid": "unfinished"})
