"""Follow-ups to answers under a tiny model."""

import math

import pytest
import torch
from PIL import Image

from vlmalign.data import encode_prompt
from vlmalign.models import build_tiny_llava, load_vlm, save_vlm
from vlmalign.rewards import Reward, follow_up_phrases
from vlmalign.rewards.follow_up import FollowUpReward
from vlmalign.rewards.follow_up_phrases import choose_phrases

RED, BLUE = (Image.new("RGB", (32, 32), colour) for colour in ((220, 30, 30), (20, 30, 200)))
GOOD, BAD = ["Thank you.", "That is right."], ["No, that is wrong.", "You missed it.", "Hm."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose model reacts to what it reads."""
    vlm = build_tiny_llava(
        ["A leukocyte is present. Thank you. That is wrong."], image_size=32, patch_size=16, hidden=32, layers=2,
        vision_hidden=32, vision_layers=1, heads=2, vocab_size=300,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vlm.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
    run = tmp_path_factory.mktemp("follow_up")
    save_vlm(vlm, run / "model")
    return run


@pytest.fixture
def three(make):
    cases = [make.case(i=0), make.case(i=0), make.case(i=1)]
    talk = make.candidate("Yes.", "Why?", "It is.", i=1)
    return cases, [make.candidate("No."), make.candidate("A leukocyte.", n=1), talk], [[RED], [RED], [BLUE]]


def by_hand(vlm, case, candidate, picture, phrase):
    """log p of the tokens of a follow-up by the model's own plain forward, the text put together here."""
    tokenizer = vlm.tokenizer
    prompt = encode_prompt(vlm.processor, case.messages, [picture])
    turns = "".join(f"<{m.role}>{m.text}" + "</s>" * (m.role == "assistant") for m in candidate.messages)
    before = tokenizer(turns.removeprefix("<assistant>") + "<user>", add_special_tokens=False).input_ids
    words = tokenizer(phrase, add_special_tokens=False).input_ids
    ids = torch.cat([prompt["input_ids"], torch.tensor([before + words])], 1)
    with torch.no_grad():
        logits = vlm.model(input_ids=ids, pixel_values=prompt["pixel_values"]).logits[0].log_softmax(-1)
    n = len(words)
    return float(logits[-n - 1 : -1].gather(1, torch.tensor(words)[:, None]).sum()), n


@pytest.mark.parametrize("per_token", [False, True])
def test_the_score_is_the_difference_of_mean_log_likelihoods_of_plain_forwards(folder, three, per_token):
    reward = FollowUpReward(folder, positive=GOOD, negative=BAD, per_token=per_token)
    output = reward.score(*three)
    assert isinstance(reward, Reward) and all(output.valid) and output.flops > 0
    vlm = load_vlm(folder / "model")
    for i, (case, candidate, (picture,)) in enumerate(zip(*three, strict=True)):
        means = []
        for phrases in (GOOD, BAD):
            found = [by_hand(vlm, case, candidate, picture, phrase) for phrase in phrases]
            means.append(sum(logp / (n if per_token else 1) for logp, n in found) / len(found))
        assert output.components["positive"][i] == pytest.approx(means[0], abs=1e-4)
        assert output.components["negative"][i] == pytest.approx(means[1], abs=1e-4)
        assert output.mean[i] == pytest.approx(means[0] - means[1], abs=1e-4)
    assert len({round(mean, 3) for mean in output.mean}) == 3


def test_swapping_praise_and_blame_flips_the_sign(folder, three):
    one, other = (
        FollowUpReward(folder, positive=GOOD, negative=BAD),
        FollowUpReward(folder, positive=BAD, negative=GOOD),
    )
    assert one.score(*three).mean == pytest.approx([-m for m in other.score(*three).mean])
    assert one.name != other.name


def test_a_score_does_not_depend_on_the_batch(folder, three):
    together, alone = (FollowUpReward(folder, batch_size=n).score(*three).mean for n in (8, 1))
    assert together == pytest.approx(alone, abs=1e-4)


def test_with_blank_images_only_the_text_is_left(folder, make):
    cases, answers = [make.case(i=0), make.case(i=1)], [make.candidate("No.", i=i) for i in range(2)]
    reward = FollowUpReward(folder, bank="general", blank_images=True)
    a, b = reward.score(cases, answers, [[RED], [BLUE]]).mean
    assert a == pytest.approx(b, abs=1e-5) and reward.name.endswith("-blank")
    a, b = FollowUpReward(folder, bank="general").score(cases, answers, [[RED], [BLUE]]).mean
    assert abs(a - b) > 1e-3


def test_a_model_that_hears_nothing_gives_all_answers_the_same_number_and_says_so_in_its_parts(folder, three):
    reward = FollowUpReward(folder, positive=GOOD, negative=BAD)
    with torch.no_grad():
        reward.vlm.model.get_output_embeddings().weight.zero_()
    output = reward.score(*three)
    assert output.mean == pytest.approx([output.mean[0]] * 3) and all(output.valid)
    size = reward.vlm.model.config.text_config.vocab_size
    tokens = [len(reward.vlm.tokenizer(text, add_special_tokens=False).input_ids) for text in GOOD]
    assert output.components["positive"][0] == pytest.approx(-sum(tokens) / 2 * math.log(size), rel=1e-5)


def test_a_likelihood_that_is_no_number_is_invalid(folder, three):
    reward = FollowUpReward(folder)
    with torch.no_grad():
        reward.vlm.model.get_output_embeddings().weight.fill_(math.nan)
    output = reward.score(*three)
    assert not any(output.valid) and output.reasons[0] == "the likelihood is not finite"
    with pytest.raises(ValueError, match="looks at the images"):
        reward.score(*three[:2])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bank": "clinica"}, "bank is 'clinica', expected one of"),
        ({"positive": ["Thanks."]}, "negative is not given"),
        ({"positive": "Thanks.", "negative": ["No."]}, "positive is 'Thanks.', expected a list of texts"),
        ({"positive": ["Thanks.", " "], "negative": ["No."]}, "expected texts that are not empty"),
        ({"positive": ["Thanks.", "Thanks."], "negative": ["No."]}, "expected different texts"),
        ({"positive": ["Well."], "negative": ["Well."]}, "is both positive and negative"),
    ],
)
def test_follow_ups_that_cannot_be_used_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        choose_phrases(**{"bank": "general", "positive": None, "negative": None, **settings})


@pytest.mark.parametrize("bank", sorted(follow_up_phrases.PHRASE_BANKS))
def test_praise_and_blame_of_a_bank_are_about_as_long(bank):
    lengths = [sum(map(len, kind)) / len(kind) for kind in follow_up_phrases.PHRASE_BANKS[bank]]
    assert max(lengths) < 1.15 * min(lengths)
