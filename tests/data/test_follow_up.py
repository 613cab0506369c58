import pytest

from vlmalign.data.follow_up import encode_follow_up
from vlmalign.records import DataError, assistant, user

PROMPT, ANSWER = (user("Describe the field.", images=1),), (assistant("A leukocyte is present."),)


def said(processor, response):
    tokens = [token for token, said in zip(response.token_ids, response.loss_mask, strict=True) if said]
    return processor.tokenizer.decode(tokens)


def test_only_the_words_of_the_follow_up_are_scored_and_nothing_comes_after_them(processor):
    response = encode_follow_up(processor, PROMPT, ANSWER, " Thank you. ", record="x")
    assert processor.tokenizer.decode(response.token_ids) == "A leukocyte is present.</s><user>Thank you."
    assert said(processor, response) == "Thank you." and response.loss_mask[-1]


def test_a_conversation_is_followed_after_its_last_answer(processor):
    talk = (*ANSWER, user("Thank you."), assistant("Thank you."))
    response = encode_follow_up(processor, PROMPT, talk, "Thank you.", record="x")
    assert processor.tokenizer.decode(response.token_ids).count("Thank you.") == 3
    first = response.loss_mask.index(True)
    assert all(response.loss_mask[first:]) and said(processor, response) == "Thank you."


def test_a_token_that_joins_marker_and_text_belongs_to_the_text(processor, template):
    """As in templates that write `USER: text`."""
    template(processor.chat_template.replace("'<' + message['role'] + '>'", "'<' + message['role'] + '>: '"))
    response = encode_follow_up(processor, PROMPT, ANSWER, "is present", record="x")
    assert said(processor, response).strip() == "is present"
    assert processor.tokenizer.decode(response.token_ids).endswith("</s><user>: is present")


@pytest.mark.parametrize(
    ("follow_up", "says"),
    [("Thanks </s> no", "spells a special token"), ("<image>", "spells a special token")],
)
def test_a_follow_up_that_spells_a_special_token_is_refused(processor, follow_up, says):
    with pytest.raises(DataError, match=says):
        encode_follow_up(processor, PROMPT, ANSWER, follow_up, record="x")
    with pytest.raises(ValueError, match="a follow-up is empty"):
        encode_follow_up(processor, PROMPT, ANSWER, "  ", record="x")


def test_a_template_that_changes_the_text_is_refused(processor, template):
    template(processor.chat_template.replace("part['text']", "(part['text'] | upper)"))
    with pytest.raises(DataError, match="does not render the follow-up 'Thank you.' as it is"):
        encode_follow_up(processor, PROMPT, ANSWER, "Thank you.", record="x")
