"""Rewrites are held against their sources claim by claim."""

import pytest

from data_builders.demonstrations import build_demonstrations
from data_builders.judges.asking import JudgeReply
from data_builders.rewrites import check_rewrite, read_refused, verify_rewrites
from data_builders.rewriting import Rewriting, write_rewrites
from data_builders.writer import always
from vlmalign.clinical import parse_text
from vlmalign.records import DataError, Demonstration, assistant, read_manifest, read_records, user
from vlmalign.records.candidate import Candidate
from vlmalign.records.validation import validate_folder

ASK = (user("Describe the film."),)


def check(logic, source, rewrite, **options):
    return check_rewrite(logic, ASK, (assistant(source),), (assistant(rewrite),), **options)


def test_findings_that_a_standardised_text_calls_none_are_flipped_one_by_one(effusion):
    # the shape of VILA-M3's published example, in our own words: a report's findings come back as "none"
    source = (
        "There is a large left pleural effusion. An effusion is present. Oedema is present, "
        "and consolidation is seen at the left base."
    )
    rewrite = "Lungs: there is no consolidation. There is no oedema. Pleura: there is no effusion."
    found = check(effusion, source, rewrite)
    assert found.flipped == {name: ("present", "absent") for name in ("consolidation", "oedema", "effusion")}
    assert found.vanished == {"side": "left", "amount": "large"} and found.appeared == {}
    assert found.reasons == ("flipped", "vanished") and not found.same


@pytest.mark.parametrize(
    ("rewrite", "reasons"),
    [
        ("Two platelets are seen. There are no white cells in this field.", ()),
        ("No leukocyte is seen. The field shows two thrombocytes.", ()),
        ("Two platelets are seen.", ("vanished",)),
        ("Two platelets are seen. No leukocyte is seen. The stain of the field is pale.", ("appeared",)),
        ("One platelet is seen. No leukocyte is seen.", ("number_changed",)),
        ("Few platelets are seen in the field. No leukocyte is seen.", ("number_changed",)),
        ("Seven platelets are seen. No leukocyte is seen.", ("flipped",)),
        ("Two platelets are seen. The presence of a leukocyte is uncertain.", ("flipped",)),
        ("Two platelets are seen. No leukocyte is seen. A leukocyte is seen.", ("flipped",)),
        ("Two platelets are seen. No leukocyte is seen. Unchanged from the previous smear.",
         ("unsupported_appeared",)),
        ("Two platelets are seen. No leukocyte is seen. Blue moon rising.", ("unread",)),
        ("Blue moon.", ("vanished", "unread")),
    ],
)  # fmt: skip
def test_what_a_rewrite_may_and_may_not_change(logic, rewrite, reasons):
    source = "Two platelets are seen. No leukocyte is seen."
    assert check(logic, source, rewrite).reasons == reasons


def test_comparisons_may_go_and_unread_sentences_may_be_allowed(logic):
    source = "No leukocyte is seen. Unchanged from the previous smear."
    assert check(logic, source, "No leukocyte is seen.").same
    assert check(logic, source, "No leukocyte is seen. Blue moon.", allow_unread=1).same
    assert check(logic, "Blue moon.", "Red moon.").reasons == ("nothing_read",)


def test_a_conversation_must_ask_the_same(logic):
    turns = (assistant("Yes."), user("Is the field sharp?"), assistant("Yes."))
    other = (assistant("Yes."), user("Is it in focus?"), assistant("Yes."))
    assert check_rewrite(logic, ASK, turns, other).reasons == ("other_questions",)


@pytest.fixture
def sources(world, logic, full):
    texts = {
        n: world.report({**full, "platelets": p}, seed=3)
        for n, p in zip("abc", ("none", "few", "many"), strict=True)
    }
    cases = world.cases("cases", {n: full for n in texts}, texts=texts)
    return build_demonstrations(cases, world.root / "sources", logic=logic, kinds=["report"])


def test_verified_rewrites_become_demonstrations_and_the_others_are_listed(world, logic, sources):
    old = {record.case_id: record.response[0].text for record in read_records(sources, Demonstration)}
    wrong = old["b"].replace("Few platelets", "Many platelets").replace("contains few", "contains many")
    assert wrong != old["b"]
    written = {"a": [old["a"] + " ", old["a"].replace(". ", ".\n")], "b": [wrong], "c": [old["c"]]}
    rewrites = world.candidates("written", written, cut=["c/report/0"])
    out = verify_rewrites(sources, rewrites, world.root / "out", logic=logic)
    (record,) = read_records(out, Demonstration)
    assert (record.id, record.source, record.case_id) == ("a/report/rewrite-0", "rewrite", "a")
    assert record.provenance["rewrite_of"] == "a/report" and record.provenance["writer"] == "tiny@0"
    flipped, cut = read_refused(out)
    assert flipped["flipped"] == {"platelets": ["few", "many"]} and flipped["rewrite_of"] == "b/report"
    assert cut["reasons"] == ["unfinished"]
    counts = read_manifest(out).counts
    assert {k: counts[k] for k in ("sources", "rewrites", "verified", "spare", "refused", "refused:flipped")} == {
        "sources": 3, "rewrites": 4, "verified": 2, "spare": 1, "refused": 2, "refused:flipped": 1
    }  # fmt: skip
    assert not validate_folder(out)


def test_a_rewrite_without_a_source_is_named(world, logic, sources):
    rewrites = world.candidates("written", {"z": ["No leukocyte is seen."]})
    with pytest.raises(DataError, match="z/report/0.*case 'z', of which there are 0"):
        verify_rewrites(sources, rewrites, world.root / "out", logic=logic)
    assert not (world.root / "out").exists()


def test_a_killed_verification_continues_to_the_same_bytes(world, logic, sources, killed, bytes_of):
    texts = {record.case_id: [record.response[0].text] for record in read_records(sources, Demonstration)}
    rewrites = world.candidates("written", {**texts, "b": ["No leukocyte is seen."]})

    def build(out):
        return verify_rewrites(sources, rewrites, out, logic=logic)

    whole = build(world.root / "whole")
    killed(lambda: build(world.root / "broken"), 2)
    build(world.root / "broken")
    assert bytes_of(world.root / "broken") == bytes_of(whole) and (whole / "refused.jsonl").is_file()


def test_a_model_writes_fenced_reports_and_only_whole_answers_are_kept(world, logic, sources, killed, bytes_of):
    asked = []

    async def ask(request):
        asked.append(request)
        text = request.messages[0].text
        if "many" in text.lower():
            return JudgeReply("refused", reason="no")
        return JudgeReply("answered", "No leukocyte is seen." if "few" in text.lower() else "", "writer-1")

    def build(out):
        return write_rewrites(sources, out, always(ask), writer="writer-1", rewriting=Rewriting(at_once=1))

    out = build(world.root / "out")
    (written,) = read_records(out, Candidate)
    assert (written.extra, written.policy) == ({"rewrite_of": "b/report"}, "writer-1")
    counts = read_manifest(out).counts
    assert (counts["replies_answered"], counts["replies_refused"], counts["sources"]) == (2, 1, 3)
    assert all(request.prompt == "rewrite@1" and "<<<REPORT " in request.messages[0].text for request in asked)
    killed(lambda: build(world.root / "broken"), 1)
    build(world.root / "broken")
    assert bytes_of(world.root / "broken") == bytes_of(out)
    assert len(asked) == 3 + 2 + 2  # what was committed is not asked again
    verified = verify_rewrites(sources, out, world.root / "verified", logic=logic)
    assert [line["reasons"][0] for line in read_refused(verified)] == ["flipped"]
    assert parse_text(logic, written.text).answers == {"leukocyte": "absent"}
