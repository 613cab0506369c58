import pytest
import torch

from vlmalign.models import sample_conversations, sample_responses

FIRST = ("Why?", "Describe this blood smear field.")
LATER = [["Is a leukocyte present?", "And?"], ["Many?"]]
FREQUENT_END = {"temperature": 3.0, "max_new_tokens": 6}


@pytest.fixture
def talking_vlm(fresh_vlm):
    """One that ends about half of its turns."""
    with torch.no_grad():
        embedding = fresh_vlm.model.model.language_model.embed_tokens.weight
        embedding[fresh_vlm.tokenizer.eos_token_id] = embedding.mean(0) + 0.3 * embedding[50]
    return fresh_vlm


def context(vlm, prompt_ids, turns, questions):
    """Tokens of the whole conversation before the next answer, each answer closed by the end token."""
    ids = list(prompt_ids)
    for turn, question in zip(turns, questions, strict=True):
        ids += [token for token in turn.token_ids if token != vlm.tokenizer.eos_token_id]
        ids += vlm.tokenizer(f"</s><user>{question}<assistant>", add_special_tokens=False).input_ids
    return torch.tensor([ids])


def logp_of(model, ids, pixels, answer):
    whole = torch.cat([ids, torch.tensor([answer])], 1)
    with torch.no_grad():
        logits = model(input_ids=whole, pixel_values=pixels, use_cache=False).logits[0].log_softmax(-1)
    return float(logits[-len(answer) - 1 : -1].gather(1, torch.tensor(answer)[:, None]).sum())


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_turn_scores_as_if_the_whole_conversation_were_encoded_again(talking_vlm, make_prompts, side):
    prompts = make_prompts(talking_vlm, FIRST, side)
    found = sample_conversations(
        talking_vlm, prompts, LATER, seeds=[[31, 32, 33, 34], [35, 36, 37]], **FREQUENT_END
    )
    endings = set()
    for row, own in enumerate(found):
        real = prompts["attention_mask"][row].bool()
        for conversation in own:
            assert len(conversation.turns) == 1 + len(LATER[row])
            for number, turn in enumerate(conversation.turns):
                before = context(
                    talking_vlm,
                    prompts["input_ids"][row][real].tolist(),
                    conversation.turns[:number],
                    LATER[row][:number],
                )
                expected = logp_of(
                    talking_vlm.model, before, prompts["pixel_values"][row : row + 1], list(turn.token_ids)
                )
                assert turn.logp == pytest.approx(expected, abs=1e-4)
                endings.add(turn.finished)
    assert endings == {True, False}  # both kinds of ending were tried


def test_greedy_later_answers_are_the_likeliest_tokens_after_the_whole_conversation(talking_vlm, make_prompts):
    prompts = make_prompts(talking_vlm, FIRST[:1])
    first, second = sample_conversations(
        talking_vlm, prompts, [["And?"]], seeds=[[0]], temperature=0, max_new_tokens=4
    )[0][0].turns
    ids = context(talking_vlm, prompts["input_ids"][0].tolist(), [first], ["And?"])
    for token in second.token_ids:
        with torch.no_grad():
            logits = talking_vlm.model(input_ids=ids, pixel_values=prompts["pixel_values"], use_cache=False).logits
        assert int(logits[0, -1].argmax()) == token
        ids = torch.cat([ids, torch.tensor([[token]])], 1)


def test_the_first_answer_is_that_of_a_single_question(vlm, make_prompts):
    prompts = make_prompts(vlm, FIRST)
    asked = sample_conversations(vlm, prompts, LATER, seeds=[[1], [2]], temperature=0, max_new_tokens=16)
    single = sample_responses(vlm, prompts, seeds=[[1], [2]], temperature=0, max_new_tokens=16)
    assert [own[0].turns[0].token_ids for own in asked] == [own[0].token_ids for own in single]


def test_a_conversation_does_not_depend_on_the_others(talking_vlm, make_prompts):
    prompts = make_prompts(talking_vlm, FIRST)
    together = sample_conversations(talking_vlm, prompts, LATER, seeds=[[1, 2], [3, 4]], **FREQUENT_END)
    alone = {name: value[1:] for name, value in prompts.items()}
    one = sample_conversations(talking_vlm, alone, LATER[1:], seeds=[[4]], **FREQUENT_END)[0][0]
    assert [turn.token_ids for turn in one.turns] == [turn.token_ids for turn in together[1][1].turns]


def test_no_follow_ups_give_one_answer_each(vlm, make_prompts):
    asked = sample_conversations(
        vlm, make_prompts(vlm, FIRST), [[], []], seeds=[[0], [0]], temperature=1.0, max_new_tokens=3
    )
    assert [len(own[0].turns) for own in asked] == [1, 1]


def test_follow_ups_that_do_not_fit_the_prompts_are_refused(vlm, make_prompts):
    with pytest.raises(ValueError, match="follow_ups has 1 lists"):
        sample_conversations(
            vlm, make_prompts(vlm, FIRST), [[]], seeds=[[0], [0]], temperature=0, max_new_tokens=3
        )


def test_a_template_that_rewrites_earlier_turns_is_refused(fresh_vlm, make_prompts):
    prompts = make_prompts(fresh_vlm, FIRST[:1])
    fresh_vlm.processor.chat_template = "{{ messages | length }}{{ messages[1]['content'][0]['text'] }}"
    with pytest.raises(ValueError, match="leaves earlier turns as they are"):
        sample_conversations(fresh_vlm, prompts, [["And?"]], seeds=[[0]], temperature=0, max_new_tokens=3)
