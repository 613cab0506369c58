import pytest

from vlmalign.evaluation.benchmarks.option_letters import alone_among_words, ladder, read_letter
from vlmalign.evaluation.benchmarks.yes_no import read_as_pope, read_yes_no

ANIMALS = {"A": "a dog", "B": "a cat", "C": "two cats", "D": "a horse"}


@pytest.mark.parametrize(
    ("said", "letter", "rule"),
    [
        ("C", "C", "letter"),
        ("The answer is (B).", "B", "letter"),
        # the letter is not among the last four words, so the pattern finds it
        ("The correct answer is B because the animal in the picture meows", "B", "stated"),
        ("I see two cats", "C", "text"),
    ],
)
def test_each_step_of_the_ladder_reads_what_the_steps_before_leave(said, letter, rule):
    assert ladder(said, ANIMALS)[::2] == (letter, rule)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (None, "missing"),
        ("Failed to obtain answer via API.", "failed"),
        ("I can't process this file.", "refused"),
        ("A or B", "unparsed"),
        ("It is some animal", "unparsed"),
        (
            "A dog is what I believe to see here, on a lawn, with a cat near by and also a horse far off",
            "unparsed",
        ),
    ],
)
def test_what_the_ladder_cannot_read_is_a_state_and_never_a_guess(said, state):
    assert ladder(said, ANIMALS)[:2] == (None, state)


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("(A)", "A"), ("A)", "A"), ("a", "A"), ("**A**", "A"), ("A: the cyst", "A"), ("B. A cyst", "B"),
        ("The answer is not A but B", "B"), ("A cyst, hence option B", "B"), ("A cyst is seen", None),
        ("Hepatitis B is likely", None), ("E. coli grew", None), ("(A) or (B)", None),
        ("A) is wrong; the answer is B", "B"), ("A", "A"), ("It is A.", "A"),
    ],
)  # fmt: skip
def test_the_strict_reader_knows_marks_from_articles_and_names(said, letter):
    assert read_letter(said, "ABCDE").letter == letter


def test_the_readers_of_mediconfusion_differ_where_the_published_one_is_wrong():
    said = ["A", "(A)", "A)", "A,", "a", "A cyst is seen", "B"]
    assert [alone_among_words(text).letter for text in said] == ["A", None, None, None, None, "A", "B"]
    assert [read_letter(text, "AB").letter for text in said] == ["A", "A", "A", "A", "A", None, "B"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Yes", "yes"), ("no.", "no"), ("**No**, there is none", "no"), ("The answer is: yes.", "yes"),
        ("There is a dog on the lawn", "yes"), ("There are no dogs here", "no"), ("There is not a dog", "no"),
        ("There is a cat", None), ("Yes and no", None), ("Nothing of the kind", None), ("", None),
        ("Not sure", None), ("I cannot say yes or no", None),
    ],
)  # fmt: skip
def test_yes_and_no_are_read_only_where_they_are_said(said, found):
    assert read_yes_no(said, "Is there a dog in the image?") == found


def test_the_script_of_pope_takes_all_that_is_not_a_no_for_a_yes():
    said = ["I cannot tell.", "", "It shows no dog.", "Yes. It is not small."]
    assert [read_as_pope(text) for text in said] == ["yes", "yes", "no", "yes"]
