import pytest

from vlmalign.clinical import derive, render_conversation, render_report, render_sentence
from vlmalign.evaluation import CaseTruth, balanced_accuracy, mark_report, score_conversation, score_report
from vlmalign.evaluation.report_metrics import hidden_sentences

IN_SCOPE = ("leukocyte", "crowding", "platelets")
HIDDEN = {"handling": ["The sample was kept at room temperature."]}


def scores(logic, candidate, truth, **options):
    return score_report(logic, candidate, truth, in_scope=IN_SCOPE, hidden_statements=HIDDEN, **options).metrics


def report_with(logic, truth, seed=0, **changes):
    answers = {**truth.answers, **changes}
    return " ".join(
        render_sentence(logic, c, v, seed=seed, bank="train") for c, v in answers.items() if v is not None
    )


def test_a_true_report_is_whole(logic, truth, candidate):
    found = scores(logic, candidate(render_report(logic, truth.answers, seed=3)), truth)
    assert found == {
        "whole_report_accuracy": 1,
        "in_scope_accuracy": 1,
        "out_of_scope_accuracy": 1,
        "omissions": 0,
        "path_consistency": 1,
        "unsupported_known": 0,
        "unsupported_unknown": 0,
        "invalid_rate": 0,
        "unrecognised": 0,
        "answer_tokens": 40,
    }


def test_an_omitted_concept_is_wrong_and_an_omission(logic, truth, candidate):
    found = scores(logic, candidate(report_with(logic, truth, platelets=None)), truth)
    assert found["whole_report_accuracy"] == 0
    assert found["in_scope_accuracy"] == pytest.approx(2 / 3)
    assert found["omissions"] == pytest.approx(1 / 7)
    assert found["invalid_rate"] == 0


def test_a_wrong_impression_alone_spoils_the_whole(logic, truth, candidate):
    found = scores(logic, candidate(report_with(logic, truth, impression="thick_area")), truth)
    assert (found["whole_report_accuracy"], found["in_scope_accuracy"]) == (0, 1)
    assert found["path_consistency"] == 0


def test_an_error_out_of_scope_does_not_spoil_the_whole(logic, truth, candidate):
    found = scores(logic, candidate(report_with(logic, truth, stain="dark")), truth)
    assert found["whole_report_accuracy"] == 1
    assert found["out_of_scope_accuracy"] == pytest.approx(2 / 3)


def test_not_applicable_is_an_answer_of_the_kind(logic, truth, candidate):
    answers = derive(logic, {**{c: v for c, v in truth.answers.items() if c != "impression"},
                             "leukocyte": "absent", "leukocyte_kind": "not_applicable"})  # fmt: skip
    bare = CaseTruth("c1", "slide-1", answers)
    assert scores(logic, candidate(report_with(logic, bare)), bare)["out_of_scope_accuracy"] == 1


@pytest.mark.parametrize(
    ("sentence", "known", "unknown"),
    [
        ("Unchanged from the previous smear.", 1, 0),
        ("The sample was kept at room temperature.", 0, 1),
        ("the sample was kept at temperature.", 0, 1),
    ],
)
def test_an_unsupported_statement_of_either_kind_spoils_the_whole(
    logic, truth, candidate, sentence, known, unknown
):
    found = scores(logic, candidate(f"{report_with(logic, truth)} {sentence}"), truth)
    assert (found["unsupported_known"], found["unsupported_unknown"]) == (known, unknown)
    assert found["whole_report_accuracy"] == 0
    assert found["in_scope_accuracy"] == 1
    assert found["unrecognised"] == 0


def test_the_unknown_kind_is_seen_only_by_the_sentences_handed_in(logic, truth, candidate):
    text = f"{report_with(logic, truth)} The sample was kept at room temperature."
    found = score_report(logic, candidate(text), truth, in_scope=IN_SCOPE).metrics
    assert (found["unsupported_unknown"], found["unrecognised"]) == (0, 1)


def test_no_claim_sentence_of_the_bank_passes_for_a_hidden_statement(logic):
    for concept in logic.concepts.values():
        for value in concept.values.values():
            assert hidden_sentences(value.sentences.all, HIDDEN) == {}


def test_gibberish_is_invalid_and_has_no_consistency(logic, truth, candidate):
    found = scores(logic, candidate("Wug dax blicket."), truth)
    assert found["invalid_rate"] == 1
    assert found["path_consistency"] is None
    assert (found["whole_report_accuracy"], found["in_scope_accuracy"], found["unrecognised"]) == (0, 0, 1)


def test_a_report_that_was_cut_off_is_invalid_and_not_whole(logic, truth, candidate):
    found = scores(logic, candidate(report_with(logic, truth), finished=False), truth)
    assert (found["invalid_rate"], found["whole_report_accuracy"]) == (1, 0)


def test_a_concept_of_unknown_truth_is_not_scored(logic, truth, candidate):
    known = {c: v for c, v in truth.answers.items() if c not in ("leukocyte_kind", "stain")}
    part = CaseTruth("c1", "slide-1", {**known, "stain": "uncertain"})
    found = scores(logic, candidate(report_with(logic, truth)), part)
    assert (found["out_of_scope_accuracy"], found["whole_report_accuracy"], found["omissions"]) == (1, 1, 0)


def test_without_the_truth_of_an_in_scope_concept_the_whole_is_not_scored(logic, truth, candidate):
    part = CaseTruth("c1", "slide-1", {c: v for c, v in truth.answers.items() if c != "platelets"})
    assert scores(logic, candidate(report_with(logic, truth)), part)["whole_report_accuracy"] is None


def test_an_unknown_length_stays_unknown(logic, truth, candidate):
    assert scores(logic, candidate("A leukocyte is seen.", tokens=None), truth)["answer_tokens"] is None


def test_a_candidate_of_another_case_is_refused(logic, truth, candidate):
    with pytest.raises(ValueError, match="case_id"):
        scores(logic, candidate("A leukocyte is seen.", case_id="c2"), truth)


def test_a_scope_that_the_logic_does_not_know_is_refused(logic, truth, candidate):
    with pytest.raises(ValueError, match="neutrophil"):
        score_report(logic, candidate("A leukocyte is seen."), truth, in_scope=["neutrophil"])


def replies(logic, truth):
    turns = render_conversation(logic, truth.answers, seed=1)
    return [m.text for m in turns if m.role == "assistant"]


def test_a_conversation_is_right_when_every_answer_is(logic, truth, candidate):
    found = score_conversation(logic, candidate(*replies(logic, truth)), truth).metrics
    assert (found["question_accuracy"], found["conversation_accuracy"]) == (1, 1)
    assert (found["unparsed_answers"], found["conversation_invalid_rate"]) == (0, 0)


def test_an_answer_that_cannot_be_read_is_wrong_and_counted(logic, truth, candidate):
    texts = replies(logic, truth)
    texts[1] = "Wug dax blicket."
    found = score_conversation(logic, candidate(*texts), truth)
    assert found.metrics["question_accuracy"] == pytest.approx(6 / 7)
    assert found.metrics["conversation_accuracy"] == 0
    assert found.metrics["unparsed_answers"] == pytest.approx(1 / 7)
    assert logic.order[1] not in found.predicted


def test_questions_never_reached_are_wrong(logic, truth, candidate):
    found = score_conversation(logic, candidate(*replies(logic, truth)[:3]), truth).metrics
    assert found["question_accuracy"] == pytest.approx(3 / 7)
    assert found["unparsed_answers"] == pytest.approx(4 / 7)


def test_a_conversation_of_gibberish_is_invalid(logic, truth, candidate):
    found = score_conversation(logic, candidate("Wug.", "Dax."), truth, asked=["stain", "focus"]).metrics
    assert (found["conversation_invalid_rate"], found["conversation_consistency"]) == (1, None)


def test_more_answers_than_questions_are_refused(logic, truth, candidate):
    with pytest.raises(ValueError, match="1 questions"):
        score_conversation(logic, candidate("Pale.", "Sharp."), truth, asked=["stain"])


def test_sentences_are_marked_by_what_is_to_be_said_of_them(logic, truth):
    text = "A leukocyte is seen. Platelets are absent. Unchanged from the previous smear. Wug dax. " \
           "The sample was kept at room temperature. The stain of the field is pale."  # fmt: skip
    known = {c: v for c, v in truth.answers.items() if c != "stain"}
    states = [span.state for span in mark_report(logic, text, known, HIDDEN)]
    assert states == ["right", "wrong", "unsupported", "plain", "unsupported", "unverified"]


def test_what_was_never_asked_is_not_held_against_a_conversation(logic, truth, candidate):
    found = score_conversation(logic, candidate("Pale."), truth, asked=["stain"])
    assert found.truth == {"stain": "pale"} and found.predicted == {"stain": "pale"}
    assert balanced_accuracy([found]).mean == 1.0
