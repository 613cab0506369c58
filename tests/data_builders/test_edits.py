import pytest

from data_builders.editing import corrected_answers, edit_answer
from data_builders.edits import build_edit_pairs, build_edits
from vlmalign.clinical import parse_conversation, parse_text
from vlmalign.clinical.paths import valid_paths
from vlmalign.records import ChangedClaim, Demonstration, Preference, assistant, read_manifest, read_records, user
from vlmalign.records.validation import validate_folder

PROMPT = (user("Describe.", images=1),)


def edit(logic, text, known, seed=0):
    return edit_answer(logic, PROMPT, (assistant(text),), known, seed=seed)


def test_only_the_wrong_sentence_is_rewritten(logic, world, full):
    wrong = {**full, "platelets": "many"}
    text = world.report(wrong)
    done = edit(logic, text, {"platelets": "few"})
    before, after = parse_text(logic, text).sentences, parse_text(logic, done.messages[0].text).sentences
    assert [k for k, (x, y) in enumerate(zip(before, after, strict=True)) if x != y] == [5]
    assert parse_text(logic, done.messages[0].text).answers == full
    assert dict(done.changed) == {"platelets": ("many", "few")}


def test_a_missing_claim_is_inserted_in_canonical_place(logic, world):
    done = edit(logic, world.report({"focus": "sharp", "crowding": "sparse"}), {"leukocyte": "absent"})
    claims = parse_text(logic, done.messages[0].text).claims
    assert [c.concept for c in claims] == ["focus", "leukocyte", "crowding"]


def test_the_impression_follows_from_the_corrected_claims(logic, world):
    said = {"leukocyte": "present", "crowding": "moderate", "platelets": "none", "impression": "leukocyte_field"}
    done = edit(logic, world.report(said), {"leukocyte": "absent"})
    # leukocyte is corrected; crowding and platelets are the policy's own
    assert parse_text(logic, done.messages[0].text).answers == {
        "leukocyte": "absent",
        "crowding": "moderate",
        "platelets": "none",
        "impression": "red_cell_field",
    }


def test_a_kind_of_a_leukocyte_that_is_not_there_becomes_not_applicable(logic):
    said = {"leukocyte": "present", "leukocyte_kind": "round"}
    target = corrected_answers(logic, {**said, "leukocyte_kind": "mononuclear"}, {"leukocyte": "absent"})
    assert target["leukocyte_kind"] == "not_applicable"


def test_a_kind_that_nobody_knows_is_withdrawn_not_guessed(logic, world):
    said = {"leukocyte": "absent", "leukocyte_kind": "not_applicable", "focus": "sharp"}
    done = edit(logic, world.report(said), {"leukocyte": "present"})
    assert parse_text(logic, done.messages[0].text).answers == {"focus": "sharp", "leukocyte": "present"}
    assert done.changed["leukocyte_kind"] == ("not_applicable", None)


def test_known_unsupported_statements_are_cut_and_unknown_ones_stay(logic, world, full):
    text = f"Unchanged from the previous smear. {world.report(full)} The sample was kept at room temperature."
    done = edit(logic, text, full)
    assert done.messages[0].text == f"{world.report(full)} The sample was kept at room temperature."
    assert dict(done.cut) == {"comparison": 1} and not done.changed


def test_a_contradiction_is_resolved_by_what_is_known(logic):
    text = "No platelets are seen in the field. Many platelets are seen in the field."
    done = edit(logic, text, {"platelets": "many"})
    assert done.messages[0].text == "Many platelets are seen in the field."


def test_an_unknown_contradiction_is_left_as_it_is(logic):
    text = "The stain of the field is pale. The stain of the field is dark. No platelets are seen in the field."
    done = edit(logic, text, {"platelets": "none"})
    assert done.unchanged and done.messages[0].text == text


@pytest.mark.parametrize("text", ["xq zz.", "The sample was kept at room temperature.", "..."])
def test_an_answer_without_a_readable_claim_is_not_edited(logic, text):
    assert edit(logic, text, {"platelets": "few"}) is None


def test_every_edit_reads_back_as_the_truth_whatever_was_said_before(logic, world):
    paths = list(valid_paths(logic))
    known_concepts = ("leukocyte", "crowding", "platelets", "impression")
    for k, truth in enumerate(paths):
        said = paths[(37 * k + 5) % len(paths)]
        known = {c: truth[c] for c in known_concepts}
        done = edit(logic, world.report(said, seed=k), known, seed=k)
        answers = parse_text(logic, done.messages[0].text).answers
        assert {c: answers[c] for c in known_concepts} == known
        assert answers["focus"] == said["focus"] and answers["stain"] == said["stain"]


def test_a_conversation_keeps_its_questions_and_the_right_answers(logic, world, full):
    said = world.conversation({**full, "platelets": "none"}, order="shuffled", seed=3)
    messages = [assistant(said[0][1])]
    for question, answer in said[1:]:
        messages += [user(question), assistant(answer)]
    prompt = (user(said[0][0], images=1),)
    done = edit_answer(logic, prompt, tuple(messages), {"platelets": "few"}, seed=1)
    changed = [k for k, (x, y) in enumerate(zip(messages, done.messages, strict=True)) if x != y]
    assert len(changed) == 1
    assert parse_conversation(logic, (prompt[-1], *done.messages)).answers == full


def test_an_unreadable_turn_is_answered_and_an_unasked_concept_is_not_added(logic, world):
    said = world.conversation({"leukocyte": "present", "platelets": "few"})
    messages = (assistant("Hm."), user(said[1][0]), assistant(said[1][1]))
    prompt = (user(said[0][0], images=1),)
    done = edit_answer(logic, prompt, messages, {"leukocyte": "absent", "crowding": "sparse"}, seed=1)
    assert parse_conversation(logic, (prompt[-1], *done.messages)).answers == {
        "leukocyte": "absent",
        "platelets": "few",
    }


def test_an_unsupported_sentence_is_cut_from_a_turn(logic, world):
    ((question, answer),) = world.conversation({"platelets": "few"})
    prompt = (user(question, images=1),)
    done = edit_answer(logic, prompt, (assistant(answer + " There is a history of fever."),), {}, seed=0)
    assert done.messages == (assistant(answer),)


def test_a_withdrawn_first_answer_takes_its_question_along(logic, world):
    said = world.conversation({"leukocyte": "absent", "leukocyte_kind": "not_applicable"})[::-1]
    prompt = (user(said[0][0], images=1),)
    messages = (assistant(said[0][1]), user(said[1][0]), assistant(said[1][1]))
    done = edit_answer(logic, prompt, messages, {"leukocyte": "present"}, seed=0)
    assert done.prompt == (user(said[1][0], images=1),) and len(done.messages) == 1


@pytest.fixture
def inputs(world, full):
    cases = world.cases("cases", {"a": full, "b": full, "c": full, "d": full}, reference=False)
    findings = world.findings("found", cases, {k: full for k in "abc"}, expert="net@7")
    said = {
        "a": [world.report({**full, "platelets": "many"}), world.report(full)],
        "b": [world.report(full)],
        "c": ["qx zzt."],
    }
    return cases, world.candidates("sampled", said), findings


def test_edited_demonstrations_take_the_first_samples_and_count_the_rest(world, logic, full, inputs):
    out = build_edits(*inputs, world.root / "out", logic=logic)
    records = read_records(out, Demonstration)
    assert [r.id for r in records] == ["a/report/0", "b/report/0"]
    assert all(parse_text(logic, r.response[0].text).answers == full for r in records)
    assert records[0].provenance["changed"] == {"platelets": ["many", "few"]}
    counts = read_manifest(out).counts
    expected = {"edited": 1, "unchanged": 1, "not_editable": 1, "cases_without_candidates": 1, "claims_changed": 1}
    assert expected.items() <= counts.items()
    assert not validate_folder(out)


def test_edit_pairs_prefer_the_edit_and_name_the_one_changed_claim(world, logic, inputs):
    out = build_edit_pairs(*inputs, world.root / "out", logic=logic, per_case=2)
    (pair,) = read_records(out, Preference)
    assert pair.changed_claim == ChangedClaim(concept="platelets", chosen="few", rejected="many")
    assert pair.margin == pytest.approx(2 / 7)  # one of seven known claims, from wrong to right
    assert (pair.source, pair.expert_ids) == ("expert", ("net@7",))
    counts = read_manifest(out).counts
    assert (counts["unchanged"], counts["edited"]) == (2, 1)
    assert not validate_folder(out)


@pytest.mark.parametrize(("build", "record"), [(build_edits, Demonstration), (build_edit_pairs, Preference)])
def test_an_answer_that_the_token_limit_cut_is_not_edited_but_counted(world, logic, full, build, record):
    cases = world.cases("cases", {"a": full, "b": full}, reference=False)
    findings = world.findings("found", cases, {"a": full, "b": full})
    wrong = world.report({**full, "platelets": "many"})
    sampled = world.candidates("sampled", {"a": [wrong, wrong], "b": [wrong]}, cut={"a/report/0", "b/report/0"})
    out = build(cases, sampled, findings, world.root / "out", logic=logic)
    assert [r.id for r in read_records(out, record)] == ["a/report/1"]
    counts = read_manifest(out).counts
    assert (counts["unfinished"], counts["candidates"]) == (2, 1)
