import pytest

from vlmalign.data import encode_prompt, encode_response, prompt_text
from vlmalign.data.encode import candidate_prompt
from vlmalign.records import Candidate, Case, DataError, ImageRef, Sampling, assistant, user

PROMPT = (user("Describe the field.", images=1),)


def decode(processor, ids):
    return processor.tokenizer.decode(ids)


def test_response_tokens_are_what_the_template_adds_and_end_on_eos(processor):
    encoded = encode_response(processor, PROMPT, (assistant("None."),), record="r")
    assert decode(processor, encoded.token_ids) == "None.</s>"
    assert all(encoded.loss_mask)


def test_prompt_tokens_and_response_tokens_together_are_the_whole_rendering(processor):
    prompt = processor.tokenizer(prompt_text(processor, PROMPT), add_special_tokens=False).input_ids
    response = encode_response(processor, PROMPT, (assistant("None."),), record="r").token_ids
    whole = prompt_text(processor, [*PROMPT, assistant("None.")], opened=False)
    assert prompt + list(response) == processor.tokenizer(whole, add_special_tokens=False).input_ids


def test_in_a_conversation_only_the_assistants_tokens_are_in_the_loss(processor):
    turns = (assistant("Yes."), user("How many?"), assistant("Two."))
    encoded = encode_response(processor, PROMPT, turns, record="r")
    said = [t for t, own in zip(encoded.token_ids, encoded.loss_mask, strict=True) if own]
    heard = [t for t, own in zip(encoded.token_ids, encoded.loss_mask, strict=True) if not own]
    assert decode(processor, said) == "Yes.</s>Two.</s>"
    assert decode(processor, heard) == "<user>How many?<assistant>"


def test_an_end_token_is_added_when_the_template_gives_the_last_turn_none(processor, template):
    template(processor.chat_template.replace("{{ '</s>' }}", ""))
    encoded = encode_response(processor, PROMPT, (assistant("None."),), record="r")
    assert decode(processor, encoded.token_ids) == "None.</s>"


def test_a_conversation_is_refused_when_the_template_does_not_end_turns(processor, template):
    template(processor.chat_template.replace("{{ '</s>' }}", ""))
    turns = (assistant("Yes."), user("How many?"), assistant("Two."))
    with pytest.raises(DataError, match="record 'r7'.*does not end an assistant turn"):
        encode_response(processor, PROMPT, turns, record="r7")


def test_what_the_template_adds_after_the_end_token_is_neither_learnt_nor_kept_at_the_end(processor, template):
    template(processor.chat_template.replace("{{ '</s>' }}", "{{ '</s>\n' }}"))
    turns = (assistant("Yes."), user("How many?"), assistant("Two."))
    encoded = encode_response(processor, PROMPT, turns, record="r")
    said = [t for t, own in zip(encoded.token_ids, encoded.loss_mask, strict=True) if own]
    assert decode(processor, said) == "Yes.</s>Two.</s>"
    assert decode(processor, encoded.token_ids) == "Yes.</s>\n<user>How many?<assistant>Two.</s>"


def test_a_template_that_changes_earlier_tokens_is_refused_with_the_record(processor, template):
    template("{{ messages | length }}" + processor.chat_template)
    with pytest.raises(DataError, match="record 'r9'.*not prefix-stable"):
        encode_response(processor, PROMPT, (assistant("None."),), record="r9")


@pytest.mark.parametrize("text", ["No </s> more.", "An <image> here."])
def test_an_answer_that_spells_a_special_token_is_refused(processor, text):
    with pytest.raises(DataError, match="spells a special token"):
        encode_response(processor, PROMPT, (assistant(text),), record="r")


def test_an_image_after_the_first_answer_is_refused(processor):
    turns = (assistant("Yes."), user("And here?", images=1), assistant("No."))
    with pytest.raises(DataError, match="image stands after the first answer"):
        encode_response(processor, PROMPT, turns, record="r")


def test_a_processor_without_template_is_refused(processor, template):
    template(None)
    with pytest.raises(ValueError, match="no chat template"):
        prompt_text(processor, PROMPT)


def test_the_prompt_holds_one_token_per_patch_and_opens_the_assistants_turn(processor):
    from PIL import Image

    prompt = encode_prompt(processor, PROMPT, [Image.new("L", (50, 40))])
    ids = prompt["input_ids"][0].tolist()
    assert ids.count(processor.tokenizer.convert_tokens_to_ids("<image>")) == 4
    assert decode(processor, ids[-1:]) == "<assistant>"
    assert prompt["pixel_values"].shape == (1, 3, 32, 32)


def test_stop_tokens_are_those_of_the_tokenizer_and_the_generation_config(vlm, monkeypatch):
    for configured in ([2, 9], (2, 9), 9):
        monkeypatch.setattr(vlm.model.generation_config, "eos_token_id", configured)
        assert vlm.stop_tokens == {vlm.tokenizer.eos_token_id, 9}


def test_a_candidate_of_a_conversation_answers_its_own_first_question():
    case = Case(
        id="c", images=(ImageRef(path="images/x.png", sha256="0" * 64),), messages=PROMPT, domain="d",
        group_id="g", group_kind="slide",
    )  # fmt: skip
    candidate = Candidate(
        id="c/0", case_id="c", messages=(assistant("Yes."),), policy="p", seed=0,
        sampling=Sampling(max_new_tokens=4), extra={"first_question": "Is it sharp?"},
    )  # fmt: skip
    assert candidate_prompt(case, candidate) == (user("Is it sharp?", images=1),)
