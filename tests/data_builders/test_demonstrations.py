import pytest

from data_builders.demonstrations import build_demonstrations
from vlmalign.clinical import parse_conversation, parse_text
from vlmalign.clinical.parser import question_concept
from vlmalign.records import Demonstration, read_manifest, read_records
from vlmalign.records.validation import validate_folder


def read_back(logic, record):
    return parse_conversation(logic, (record.prompt[-1], *record.response)).answers


def asked(logic, record):
    turns = (record.prompt[-1], *record.response)
    return [question_concept(logic, m.text) for m in turns if m.role == "user"]


def test_the_report_is_kept_as_it_is_and_questions_cover_only_its_claims(world, logic):
    text = "No platelets are seen in the field. Unchanged from the previous smear. The stain of the field is pale."
    cases = world.cases("cases", {"a": {}}, texts={"a": text})
    out = build_demonstrations(cases, world.root / "out", logic=logic, orders={"canonical": 1})
    report, conversation = read_records(out, Demonstration)
    assert report.response[0].text == text
    assert asked(logic, conversation) == ["stain", "platelets"]
    assert read_back(logic, conversation) == {"platelets": "none", "stain": "pale"}
    assert conversation.prompt[0].n_images == 1
    assert {report.source, conversation.source} == {"labels"}
    assert not validate_folder(out)


def test_reports_without_text_or_claims_are_counted(world, logic):
    texts = {"b": "Blue moon."}
    cases = world.cases("cases", {"a": {}, "b": {}}, texts=texts)
    out = build_demonstrations(cases, world.root / "out", logic=logic)
    counts = read_manifest(out).counts
    assert counts["cases_without_report"] == 1
    assert counts["reports_without_claims"] == 1 and counts["unrecognised_sentences"] == 1
    assert [r.id for r in read_records(out, Demonstration)] == ["b/report"]


def test_contradictory_and_hedged_claims_are_not_asked(world, logic):
    text = (
        "No platelets are seen in the field. Many platelets are seen in the field. "
        "The focus cannot be assessed. The stain of the field is pale."
    )
    cases = world.cases("cases", {"a": {}}, texts={"a": text})
    out = build_demonstrations(cases, world.root / "out", logic=logic, kinds=["conversation"])
    (record,) = read_records(out, Demonstration)
    assert asked(logic, record) == ["stain"]
    counts = read_manifest(out).counts
    assert (counts["contradictory_claims"], counts["hedged_claims"]) == (1, 1)


def test_orders_come_in_their_shares(world, logic, full):
    cases = world.cases("cases", {"a": full})
    out = build_demonstrations(
        cases,
        world.root / "out",
        logic=logic,
        kinds=["conversation"],
        findings="reference",
        conversations_per_case=80,
        orders={"canonical": 0.5, "impression_first": 0.5},
    )
    first = [asked(logic, record)[0] for record in read_records(out, Demonstration)]
    assert set(first) == {"focus", "impression"}
    assert 25 <= first.count("focus") <= 55


def test_answers_from_an_expert_leave_out_what_it_is_not_sure_of(world, logic, full):
    cases = world.cases("cases", {"a": full}, reference=False)
    seen = {"leukocyte": "present", "crowding": "moderate"}
    findings = world.findings("found", cases, {"a": seen}, expert="net@7", probability=0.6)
    out = build_demonstrations(cases, world.root / "out", logic=logic, findings=findings, kinds=["report"])
    (record,) = read_records(out, Demonstration)
    assert parse_text(logic, record.response[0].text).answers == {"crowding": "moderate"}
    assert record.provenance["expert_ids"] == ["net@7"]
    assert read_manifest(out).counts["uncertain_concepts"] == 1


@pytest.mark.parametrize(
    "options", [{"kinds": []}, {"kinds": ["poem"]}, {"orders": {"random": 1}}, {"orders": {"canonical": 0}}]
)
def test_options_that_make_no_sense_are_refused(world, logic, options):
    cases = world.cases("cases", {"a": {}})
    with pytest.raises(ValueError):
        build_demonstrations(cases, world.root / "out", logic=logic, **options)
