import pytest

from vlmalign.data.encode import EncodedResponse
from vlmalign.rewards.sentence_steps import TokenStep, sentence_steps


class Letters:
    """A tokenizer whose tokens are letters; 0 is the end."""

    @staticmethod
    def decode(ids, skip_special_tokens):
        return "".join(chr(i) for i in ids if i)


def spoken(*turns, between="ask"):
    """Tokens of turns, each with its end, and of what is not said between them."""
    ids, mask = [], []
    for number, text in enumerate(turns):
        if number:
            ids += [ord(letter) for letter in between]
            mask += [False] * len(between)
        ids += [ord(letter) for letter in text] + [0]
        mask += [True] * (len(text) + 1)
    return EncodedResponse(tuple(ids), tuple(mask))


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("One. Two.", [(4, 0, 4), (9, 4, 10)]),  # the space belongs to the second sentence, the end to the last
        ("One. Two. ...", [(4, 0, 4), (9, 4, 14)]),
        ("...", [(3, 0, 4)]),
        ("", [(0, 0, 1)]),
    ],
)
def test_an_answers_tokens_are_divided_into_its_sentences(make, text, steps):
    assert sentence_steps(Letters, make.candidate(text), spoken(text)) == tuple(TokenStep(*s) for s in steps)


def test_steps_of_a_conversation_leave_out_what_the_user_says(make):
    candidate = make.candidate("One. Two.", "ask", "", "ask", "Three.")
    steps = sentence_steps(Letters, candidate, spoken("One. Two.", "", "Three."))
    assert steps == (TokenStep(4, 0, 4), TokenStep(9, 4, 10), TokenStep(10, 13, 14), TokenStep(17, 17, 24))
    assert candidate.text[: steps[-1].end] == "One. Two.\n\nThree."


def test_tokens_of_another_answer_are_refused(make):
    with pytest.raises(ValueError, match="has 1 answers and its tokens 2"):
        sentence_steps(Letters, make.candidate("One."), spoken("One.", "Two."))
