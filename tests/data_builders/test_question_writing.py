"""Questions that a model wrote are kept only where the parser reads their answers as true."""

import pytest

from data_builders.demonstrations import build_demonstrations
from data_builders.judges.asking import JudgeReply
from data_builders.question_writing import QuestionWriting, verify_questions, write_questions
from data_builders.writer import always
from vlmalign.records import Demonstration, read_manifest, read_records
from vlmalign.records.validation import validate_folder

KNOWN = {"leukocyte": "absent", "platelets": "few", "stain": "pale", "crowding": "moderate"}


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        ("Is a leukocyte seen in the field?", "No.", "kept"),
        ("Is a leukocyte seen in the field?", "Yes.", "says_otherwise"),
        ("Are the cells stained pale?", "Yes", "kept"),
        ("Are the cells stained dark?", "No.", "kept"),
        ("Are the cells stained dark?", "Yes.", "says_otherwise"),
        ("Is the field sharp, would you say?", "Yes.", "not_in_source"),
        ("Is it Monday?", "No.", "claims_nothing"),
        ("How is the stain of the field?", "The stain of the field is pale.", "kept"),
        ("How is the stain of the field?", "The stain of the field is dark.", "says_otherwise"),
        ("How is the stain of the field?", "Pale, and the field is in sharp focus.", "not_in_source"),
        ("What can be said of these few platelets?", "Few platelets are seen.", "leaks"),
        ("How many platelets are seen?", "As mentioned, few platelets are seen.", "refers_to_text"),
        ("How many platelets are seen?", "It is a nice field.", "claims_nothing"),
    ],
)
def test_an_answer_is_held_against_what_is_known(logic, question, answer, verdict):
    (found,) = verify_questions(logic, KNOWN, f"Q: {question}\nA: {answer}")
    assert found.verdict == verdict


def test_a_reply_is_read_in_pairs_of_lines_and_a_question_counts_once(logic):
    reply = (
        "Q: How is the stain of the field?\nA: The stain of the field is pale.\n\n"
        "Q: how is the stain of the field?\nA: Pale.\nQ: Is a leukocyte seen?\nA: No.\n"
    )
    assert [w.verdict for w in verify_questions(logic, KNOWN, reply)] == ["kept", "duplicate", "kept"]
    assert [w.verdict for w in verify_questions(logic, KNOWN, "I cannot do this.")] == ["unreadable"]


def test_verified_questions_become_demonstrations_and_the_rest_is_counted(world, logic, full, killed, bytes_of):
    cases = world.cases("cases", {n: full for n in "abc"})
    reports = build_demonstrations(cases, world.root / "reports", logic=logic, findings="reference")
    asked = []

    async def ask(request):
        asked.append(request)
        if len(asked) == 2:
            return JudgeReply("failed", reason="timeout")
        return JudgeReply(
            "answered", "Q: Is a leukocyte seen?\nA: Yes.\nQ: How is the stain?\nA: Dark stain.", "m"
        )

    def build(out):
        asked.clear()
        return write_questions(
            reports, out, always(ask), logic=logic, writer="m", writing=QuestionWriting(at_once=1)
        )

    out = build(world.root / "out")
    records, counts = read_records(out, Demonstration), read_manifest(out).counts
    assert len(asked) == 3 and all("<<<DESCRIPTION " in request.messages[0].text for request in asked)
    assert [record.prompt[0].text for record in records] == ["Is a leukocyte seen?"] * 2
    assert {k: counts[k] for k in ("texts", "left_out", "replies_failed", "kept", "says_otherwise", "yes")} == {
        "texts": 6, "left_out": 3, "replies_failed": 1, "kept": 2, "says_otherwise": 2, "yes": 2
    }  # fmt: skip
    assert records[0].prompt[0].n_images == 1 and not validate_folder(out)
