"""A corrupted answer differs in exactly the claim that is recorded."""

import pytest

from data_builders.corruptions import KINDS, corrupt
from data_builders.statements import difference, statements_of
from vlmalign.clinical import parse_text, question_text, render_conversation, render_report
from vlmalign.records import assistant, user

ASK = (user("Describe this blood smear field."),)
VALUE_KINDS = ("flip", "number")


def report(*sentences):
    return (assistant(" ".join(sentences)),)


@pytest.fixture
def answers(logic, full):
    """Reports that leave the stain out, and conversations in all orders, with their prompts."""

    def make(seed):
        told = {concept: value for concept, value in full.items() if concept != "stain"}
        text = render_report(logic, told, seed=seed, numbers={"platelets": 2})
        order = ("canonical", "impression_first", "shuffled")[seed % 3]
        turns = render_conversation(logic, full, seed=seed, order=order)
        return [(ASK, (assistant(text),)), (turns[:1], turns[1:])]

    return make


@pytest.mark.parametrize("wording", ["bank", "in_place"])
@pytest.mark.parametrize("kind", ["flip", "number", "add", "drop", "contradict"])
def test_every_corruption_reads_back_as_recorded_and_leaves_all_other_sentences(
    logic, full, answers, kind, wording
):
    made = 0
    for seed in range(12):
        for prompt, messages in answers(seed):
            found = corrupt(logic, prompt, messages, kind, seed=seed, known=full, wording=wording)
            if isinstance(found, str):
                continue
            made += 1
            read = difference(logic, prompt, messages, found.messages)
            assert read.only_claims and read.claims == {found.concept: (found.before, found.after)}
            old, new = ([s.text for s in statements_of(logic, prompt, m)] for m in (messages, found.messages))
            kept = [text for text in old if text in new]
            assert len(kept) >= len(old) - 1 and [text for text in new if text in old] == kept
            assert [m for m in found.messages if m.role == "user"] == [m for m in messages if m.role == "user"]
            if found.kind != "add":
                assert full[found.concept] == found.before
    assert made >= 12


def test_everything_between_sentences_stays_as_it_was(logic):
    text = "FINDINGS:\n\n  The stain of the field is pale.   No leukocyte is seen.\nRecheck tomorrow"
    found = corrupt(logic, ASK, (assistant(text),), "flip", seed=0, concepts=["leukocyte"])
    new = found.messages[0].text
    assert new == text.replace("No leukocyte is seen.", found.sentence)
    assert parse_text(logic, new).answers == {"stain": "pale", "leukocyte": "present"}


def test_an_in_place_corruption_keeps_the_rest_of_the_sentence(logic):
    said = report("Cells darkly stained and crisp, as one would wish.")
    found = corrupt(logic, ASK, said, "flip", seed=1, concepts=["stain"], wording="in_place")
    new = found.messages[0].text
    assert new.startswith("Cells ") and new.endswith(" and crisp, as one would wish.")
    assert parse_text(logic, new).answers == {"stain": found.after, "focus": "sharp"}


def test_a_sentence_of_several_claims_is_never_cut_or_replaced_whole(logic):
    said = report("No leukocytes and no platelets are seen.", "The stain of the field is pale.")
    assert corrupt(logic, ASK, said, "drop", seed=0, concepts=["leukocyte", "platelets"]) == "not_applicable"
    for seed in range(8):
        found = corrupt(logic, ASK, said, "drop", seed=seed)
        assert found.concept == "stain"


def test_a_number_becomes_one_of_another_band_in_its_own_words(logic):
    said = report("In this field we count two small platelets, which is usual.")
    found = corrupt(logic, ASK, said, "number", seed=3, wording="in_place")
    assert found.numbers[0] == 2.0 and found.numbers[1] >= 3
    assert found.changed_claim.model_dump() == {"concept": "platelets", "chosen": "few", "rejected": "many"}
    assert found.messages[0].text.startswith("In this field we count ")
    assert found.messages[0].text.endswith(" small platelets, which is usual.")


def test_an_addition_states_what_is_known_to_be_otherwise(logic):
    said = report("The field is in sharp focus.")
    assert corrupt(logic, ASK, said, "add", seed=0) == "not_applicable"
    found = corrupt(logic, ASK, said, "add", seed=0, known={"leukocyte": "absent"})
    assert found.changed_claim.model_dump() == {"concept": "leukocyte", "chosen": None, "rejected": "present"}
    assert found.messages[0].text.startswith("The field is in sharp focus. ")
    implied = corrupt(logic, ASK, report("No leukocyte is seen in the field."), "add", seed=0)
    assert implied.concept == "leukocyte_kind" and implied.after in ("segmented", "mononuclear")


def test_a_contradiction_comes_in_a_later_turn_where_there_is_one(logic, full):
    turns = render_conversation(logic, full, seed=4)
    for seed in range(10):
        found = corrupt(logic, turns[:1], turns[1:], "contradict", seed=seed)
        first = next(s.turn for s in statements_of(logic, turns[:1], turns[1:]) if found.concept in s.claims)
        assert found.turn > first or first == len(turns) - 2
        assert found.messages[found.turn].text == f"{turns[1:][found.turn].text} {found.sentence}"
        assert found.after == "contradictory"


def test_a_flipped_finding_propagates_to_what_depends_on_it(logic):
    said = report(
        "A leukocyte is seen in the field.", "The leukocyte has a round nucleus.",
        "Red cells are moderate in the field.", "In summary this is a leukocyte field.",
    )  # fmt: skip
    alone = corrupt(logic, ASK, said, "flip", seed=0, concepts=["leukocyte"])
    assert alone.followed == {}
    found = corrupt(logic, ASK, said, "flip", seed=0, concepts=["leukocyte"], propagate=True)
    assert dict(found.followed)["leukocyte_kind"] == ("mononuclear", "not_applicable")
    assert "impression" in found.followed and found.changed_claim.rejected == "absent"
    new = found.messages[0].text
    assert "Red cells are moderate in the field." in new and "leukocyte field" not in new
    read = difference(logic, ASK, said, found.messages).claims
    assert read == {"leukocyte": ("present", "absent"), **found.followed}


def test_what_is_said_twice_or_hedged_is_not_changed(logic):
    said = report("No leukocyte is seen.", "No leukocyte is seen in the field.", "The focus cannot be assessed.")
    assert corrupt(logic, ASK, said, "flip", seed=0) == "not_applicable"


def test_a_turn_of_a_conversation_keeps_its_answer(logic, full):
    turns = render_conversation(logic, full, seed=0)
    for kind in ("drop", "add"):
        assert corrupt(logic, turns[:1], turns[1:], kind, seed=0, known=full) == "not_applicable"


def test_the_same_seed_makes_the_same_corruption_and_but_makes_another(logic, full, answers):
    prompt, messages = answers(0)[0]
    one, same = (corrupt(logic, prompt, messages, "flip", seed=5) for _ in range(2))
    other = corrupt(logic, prompt, messages, "flip", seed=5, but=[one.messages])
    assert one == same and other.messages != one.messages


def test_a_short_answer_is_corrupted_as_an_answer(logic):
    prompt = (user(question_text(logic, "leukocyte", seed=0)),)
    found = corrupt(logic, prompt, report("Yes."), "flip", seed=0)
    assert found.changed_claim.rejected == "absent" and found.messages[0].text.startswith("No, ")


def test_unknown_kinds_are_refused(logic):
    with pytest.raises(ValueError, match="kind is 'invent'"):
        corrupt(logic, ASK, report("No leukocyte is seen."), "invent", seed=0)
    assert "invent" not in KINDS


TRUE = {"consolidation": "absent", "effusion": "present", "side": "left", "amount": "large", "stage": "advanced"}


@pytest.mark.parametrize(
    ("kind", "concept", "after"),
    [("laterality", "side", {"right"}), ("severity", "amount", {"small"}),
     ("stage", "stage", {"early", "none"})],
)  # fmt: skip
def test_side_severity_and_stage_change_their_own_aspect(effusion, kind, concept, after):
    turns = render_conversation(effusion, TRUE, seed=3, order="shuffled")
    for prompt, messages in ((ASK, (assistant(render_report(effusion, TRUE, seed=1)),)), (turns[:1], turns[1:])):
        changed = set()
        for seed in range(8):
            found = corrupt(effusion, prompt, messages, kind, seed=seed)
            read = difference(effusion, prompt, messages, found.messages)
            assert read.only_claims and read.claims == {concept: (TRUE[concept], found.after)}
            changed.add(found.after)
        assert changed == after


def test_the_side_changes_within_a_sentence_that_says_more(effusion):
    said = report("There is a small left pleural effusion without consolidation; heart as ever.")
    found = corrupt(effusion, ASK, said, "laterality", seed=0)
    assert found.changed_claim.model_dump() == {"concept": "side", "chosen": "left", "rejected": "right"}
    right = {t.replace("right sided", "right") for t in (found.messages[0].text,)}
    assert right == {"There is a small right pleural effusion without consolidation; heart as ever."}


def test_flips_propagate_through_constraints_and_stages(effusion):
    said = (assistant(render_report(effusion, TRUE, seed=0)),)
    found = corrupt(effusion, ASK, said, "flip", seed=0, concepts=["effusion"], propagate=True)
    assert found.followed == {
        "side": ("left", "not_applicable"), "amount": ("large", "not_applicable"), "stage": ("advanced", "none")
    }  # fmt: skip
    found = corrupt(effusion, ASK, said, "severity", seed=0, propagate=True)
    assert found.after == "small" and found.followed == {"stage": ("advanced", "early")}
