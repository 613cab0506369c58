import random

import pytest

from vlmalign.clinical import (
    parse_answer,
    parse_conversation,
    parse_text,
    question_text,
    render_conversation,
    render_report,
)
from vlmalign.clinical.parser import _read, question_concept, split_sentences
from vlmalign.clinical.paths import valid_paths
from vlmalign.records import assistant, user


def banks(logic):
    """Every bank sentence with the claim it must make."""
    for name, concept in logic.concepts.items():
        for value, wording in concept.values.items():
            for kind, bank in (("report", wording.sentences), ("answer", wording.answers)):
                for text in bank.all if bank else ():
                    yield kind, name, value, text


def test_parser_recovers_every_sentence_of_every_bank(smear, chest):
    for logic in (smear, chest):
        for kind, concept, value, text in banks(logic):
            assert parse_answer(logic, concept, text) == value, text
            if kind == "report":
                parsed = parse_text(logic, text)
                assert parsed.answers == {concept: value} and len(parsed.claims) == 1, text
                assert not parsed.unsupported and not parsed.unrecognised


def test_every_question_of_the_banks_is_known_and_claims_nothing(smear):
    for question in smear.questions:
        for text in question.bank.all:
            assert question_concept(smear, text) == question.concept
            assert parse_text(smear, text).claims == ()
    assert question_concept(smear, "Who are you?") is None


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("There are no white cells.", {"leukocyte": "absent"}),
        ("WBC present", {"leukocyte": "present"}),
        ("WBC present, platelets absent.", {"leukocyte": "present", "platelets": "none"}),
        ("Leukocytes are not seen.", {"leukocyte": "absent"}),
        ("LEUKOCYTES AREN\u2019T VISIBLE", {"leukocyte": "absent"}),
        ("Without leukocytes the field shows many platelets.", {"leukocyte": "absent", "platelets": "many"}),
        ("No visible leukocyte.", {"leukocyte": "absent"}),
        ("There is no evidence of a leukocyte.", {"leukocyte": "absent"}),
        ("No leukocytes or platelets are seen.", {"leukocyte": "absent", "platelets": "none"}),
        ("Neither leukocytes nor platelets are seen.", {"leukocyte": "absent", "platelets": "none"}),
        ("Leukocytes and platelets are absent.", {"leukocyte": "absent", "platelets": "none"}),
        ("Leukocytes: none; platelets: few.", {"leukocyte": "absent", "platelets": "few"}),
        # a denial does not reach over into the next statement
        ("No leukocyte is seen, and platelets are many.", {"leukocyte": "absent", "platelets": "many"}),
        ("There is no leukocyte and platelets are few.", {"leukocyte": "absent", "platelets": "few"}),
        ("A leukocyte is seen and no platelets.", {"leukocyte": "present", "platelets": "none"}),
        ("No leukocyte, many platelets.", {"leukocyte": "absent", "platelets": "many"}),
        ("No leukocyte is seen in this sharp field.", {"leukocyte": "absent", "focus": "sharp"}),
        ("The sharp field has no visible leukocyte.", {"leukocyte": "absent", "focus": "sharp"}),
        # denying one of two values means the other, denying one of three means nothing
        ("The field is not sharp.", {"focus": "blurred"}),
        ("The stain is not pale.", {}),
        ("The red cells do not overlap.", {}),
        ("Leukocytes are not absent.", {"leukocyte": "present"}),
        ("There is no doubt that a leukocyte is present.", {"leukocyte": "present"}),
        # the noun decides what a quality is said of
        ("Many platelets and few red cells are seen.", {"platelets": "many", "crowding": "sparse"}),
        ("Few platelets and many red cells are seen.", {"platelets": "few", "crowding": "crowded"}),
        ("A segmented leukocyte is seen.", {"leukocyte_kind": "segmented"}),
        ("No segmented leukocyte is seen.", {}),
        # what a question asks is not claimed
        ("Is a leukocyte present?", {}),
    ],
)
def test_ordinary_wording_and_negation_outside_the_banks(smear, text, answers):
    assert parse_text(smear, text).answers == answers


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("No pneumonia.", {"pneumonia": "absent"}),
        ("Small left pleural effusion.", {"pleural_effusion": "present"}),
        (
            "There is no focal consolidation, pleural effusion, or pneumothorax.",
            {"consolidation": "absent", "pleural_effusion": "absent", "pneumothorax": "absent"},
        ),
        (
            "There is no edema, and a small pleural effusion is seen.",
            {"edema": "absent", "pleural_effusion": "present"},
        ),
        (
            "No cardiomegaly, consolidation or edema.",
            {"cardiomegaly": "absent", "consolidation": "absent", "edema": "absent"},
        ),
        (
            "Edema with pleural effusion but no hernia.",
            {"edema": "present", "pleural_effusion": "present", "hernia": "absent"},
        ),
        ("Cardiomegaly without edema.", {"cardiomegaly": "present", "edema": "absent"}),
        ("Pneumonia cannot be excluded.", {"pneumonia": "uncertain"}),
        ("Pneumonia ruled out.", {"pneumonia": "absent"}),
        ("Heart size is normal.", {"cardiomegaly": "absent"}),
        ("The cardiothoracic ratio is 0.56.", {"cardiomegaly": "present"}),
        ("Cardiothoracic ratio of 45 %.", {"cardiomegaly": "absent"}),
    ],
)
def test_telegraphic_chest_wording_needs_only_yaml(chest, text, answers):
    assert parse_text(chest, text).answers == answers


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("Possible leukocyte.", {"leukocyte": "uncertain"}),
        ("A leukocyte may be present.", {"leukocyte": "uncertain"}),
        ("No definite leukocyte is seen.", {"leukocyte": "uncertain"}),
        ("A possible leukocyte and many platelets are seen.", {"leukocyte": "uncertain", "platelets": "many"}),
        ("Platelets cannot be assessed.", {"platelets": "not_assessed"}),
        ("The stain can't be judged.", {"stain": "not_assessed"}),
        ("The leukocyte may be segmented.", {"leukocyte_kind": "uncertain"}),
        (
            "Platelets cannot be assessed because the field is blurred.",
            {"platelets": "not_assessed", "focus": "blurred"},
        ),
    ],
)
def test_doubt_is_a_value_of_its_own(smear, text, answers):
    assert parse_text(smear, text).answers == answers


@pytest.mark.parametrize(
    ("text", "value", "number"),
    [
        ("Two platelets are seen.", "few", 2.0),
        ("2 platelets are seen.", "few", 2.0),
        ("3 platelets", "many", 3.0),
        ("Zero platelets.", "none", 0.0),
        ("The platelet count is 12.", "many", 12.0),
        ("ten small thrombocytes", "many", 10.0),
    ],
)
def test_numbers_are_read_through_the_bands(smear, text, value, number):
    (claim,) = parse_text(smear, text).claims
    assert (claim.concept, claim.value, claim.number) == ("platelets", value, number)


@pytest.mark.parametrize("text", ["2 to 3 platelets are seen.", "At least 1 platelet.", "Fewer than 5 platelets."])
def test_bounds_and_ranges_are_not_counts(smear, text):
    assert parse_text(smear, text).claims == ()


def test_two_claims_that_disagree_are_contradictory_and_both_kept(smear):
    parsed = parse_text(smear, "No platelets are seen. Stain is dark. Many platelets are seen.")
    assert parsed.answers == {"platelets": "contradictory", "stain": "dark"}
    assert [(c.value, c.sentence) for c in parsed.claims if c.concept == "platelets"] == [("none", 0), ("many", 2)]
    assert parse_text(smear, "Two platelets are seen. Platelets are few.").answers == {"platelets": "few"}
    assert parse_answer(smear, "leukocyte", "Yes, no leukocyte is seen.") == "contradictory"


@pytest.mark.parametrize(
    "text",
    ["", "...", "lorem ipsum dolor", "leukocyte leukocyte", "the of the", "\u00e9\u4e2d\U0001f600", "no no no"],
)
def test_gibberish_claims_nothing_and_answers_no_question(smear, text):
    assert parse_text(smear, text).claims == ()
    for concept in smear.concepts:
        assert parse_answer(smear, concept, text) is None


def test_sentences_are_claims_or_unsupported_or_unrecognised(smear):
    text = (
        "A leukocyte is seen. The sample was kept at room temperature. "
        "Compared with the previous smear, platelets are many. The patient has known anaemia."
    )
    parsed = parse_text(smear, text)
    assert parsed.answers == {"leukocyte": "present", "platelets": "many"}
    assert [(u.kind, u.sentence) for u in parsed.unsupported] == [("comparison", 2), ("history", 3)]
    assert parsed.unrecognised == ("The sample was kept at room temperature.",)
    assert len(parsed.sentences) == 4


def test_examples_of_unsupported_kinds_are_recognised_as_their_kind(smear):
    for kind, unsupported in smear.unsupported.items():
        for text in unsupported.examples.all:
            parsed = parse_text(smear, text)
            assert [u.kind for u in parsed.unsupported] == [kind] and not parsed.claims


def test_decimals_do_not_split_sentences():
    assert split_sentences("Cover is small.Stain is dark.") == ("Cover is small.", "Stain is dark.")
    assert split_sentences("Cover is 0.5. Stain is dark\nNo platelets") == (
        "Cover is 0.5.",
        "Stain is dark",
        "No platelets",
    )


@pytest.mark.parametrize(
    ("concept", "text", "value"),
    [
        ("leukocyte", "Yes, one is present.", "present"),
        ("leukocyte", "yes", "present"),
        ("leukocyte", "No.", "absent"),
        ("leukocyte", "No, there are none.", "absent"),
        ("leukocyte", "Not seen.", "absent"),
        ("leukocyte", "No idea.", None),
        ("leukocyte", "Possibly.", "uncertain"),
        ("leukocyte", "It cannot be assessed.", "not_assessed"),
        ("leukocyte", "The stain is dark.", None),
        ("platelets", "Two are seen.", "few"),
        ("platelets", "Many.", "many"),
        ("platelets", "None.", "none"),
        ("platelets", "Yes.", None),  # few or many
        ("stain", "Yes.", None),
        ("stain", "Dark.", "dark"),
        ("focus", "No, it is blurred.", "blurred"),
        ("crowding", "They overlap.", "crowded"),
        # said of another concept, and it leaves one value
        ("leukocyte_kind", "There is no leukocyte.", "not_applicable"),
        ("leukocyte_kind", "A leukocyte is present.", None),
        ("impression", "The red cells are crowded.", None),
    ],
)
def test_answers_are_read_as_being_about_the_question(smear, concept, text, value):
    assert parse_answer(smear, concept, text) == value


def test_unknown_concept_is_refused(smear):
    with pytest.raises(ValueError, match="'heart' is not in peripheral_smear"):
        parse_answer(smear, "heart", "Yes.")


def test_conversation_in_any_order_reads_back_its_answers(smear):
    for seed, path in enumerate(valid_paths(smear)):
        for order in ("canonical", "impression_first", "shuffled"):
            turns = render_conversation(smear, path, seed=seed, order=order, bank="test")
            parsed = parse_conversation(smear, turns)
            assert parsed.answers == path
            assert not parsed.unrecognised


def test_conversation_numbers_sentences_through_and_reads_free_turns_as_text(smear):
    turns = (
        user(question_text(smear, "leukocyte", seed=0), images=1),
        assistant("Yes. Hello there."),
        user("Anything else?"),
        assistant("None. The stain is dark."),
    )
    parsed = parse_conversation(smear, turns)
    assert parsed.answers == {"leukocyte": "present", "stain": "dark"}
    assert [claim.sentence for claim in parsed.claims] == [0, 3]
    assert parsed.unrecognised == ("Hello there.", "None.")


def test_a_thousand_reports_are_parsed_within_a_second(smear, in_good_time):
    path = next(valid_paths(smear, {"platelets": "few"}))
    texts = [render_report(smear, path, seed=seed) for seed in range(1000)]
    with in_good_time(1.0):
        for text in texts:
            _read.cache_clear()  # the worst case: no sentence was ever seen before
            parse_text(smear, text)


def test_any_text_is_parsed_the_same_way_twice_and_every_sentence_is_accounted_for(smear):
    rng = random.Random(0)
    pool = "no not leukocyte platelets few many , . ; : and or two 3 % is seen absent possible sharp _ yes ?"
    pool += " \u00b2 \u0663"
    for _ in range(500):
        text = " ".join(rng.choices(pool.split(), k=rng.randint(1, 30)))
        parsed = parse_text(smear, text)
        _read.cache_clear()
        assert parse_text(smear, text) == parsed
        told = {c.sentence for c in parsed.claims} | {u.sentence for u in parsed.unsupported}
        assert len(told) + len(parsed.unrecognised) == len(parsed.sentences)
        for concept in smear.concepts:
            parse_answer(smear, concept, text)
