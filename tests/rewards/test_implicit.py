"""Two tiny models of one tokenizer as policy and reference."""

import math

import pytest
import torch
from PIL import Image

from vlmalign.data import encode_prompt, encode_response
from vlmalign.models import build_tiny_llava, load_vlm, save_vlm
from vlmalign.rewards import Reward
from vlmalign.rewards.implicit import ImplicitReward

RED, BLUE = (Image.new("RGB", (32, 32), colour) for colour in ((220, 30, 30), (20, 30, 200)))
TEXT = "A leukocyte is present. It is large."


def build(seed, *, corpus="A leukocyte is present.", size=32):
    vlm = build_tiny_llava(
        [corpus], image_size=size, patch_size=16, hidden=32, layers=2, vision_hidden=32, vision_layers=1, heads=2,
        vocab_size=300,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # a fresh model hardly reacts to what it reads
        for parameter in vlm.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
    return vlm


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of a policy, as a run has it, and of its reference."""
    root = tmp_path_factory.mktemp("implicit")
    save_vlm(build(1), root / "run" / "model")
    save_vlm(build(2), root / "reference")
    return root / "run", root / "reference"


@pytest.fixture
def three(make):
    """Two answers to one case, a conversation about another."""
    cases = [make.case(i=0), make.case(i=0), make.case(i=1)]
    candidates = [
        make.candidate("No."),
        make.candidate(TEXT, n=1),
        make.candidate("Yes. One.", "Why?", "It is.", i=1),
    ]
    return cases, candidates, [[RED], [RED], [BLUE]]


def by_hand(folder, case, candidate, picture):
    """log p of every token that the assistant says, by the model's own plain forward."""
    vlm = load_vlm(folder)
    prompt = encode_prompt(vlm.processor, case.messages, [picture])
    answer = encode_response(vlm.processor, case.messages, candidate.messages, record="x")
    ids = torch.cat([prompt["input_ids"], torch.tensor([answer.token_ids])], 1)
    with torch.no_grad():
        logits = vlm.model(input_ids=ids, pixel_values=prompt["pixel_values"]).logits[0].log_softmax(-1)
    width = prompt["input_ids"].shape[1]
    said = logits[width - 1 : -1].gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
    return said[torch.tensor(answer.loss_mask)]


def test_the_score_is_the_log_ratio_of_plain_forwards_of_both_models(folders, three):
    reward = ImplicitReward(*folders, beta=0.5)
    output = reward.score(*three)
    assert isinstance(reward, Reward) and all(output.valid) and output.flops > 0
    for i, (case, candidate, (picture,)) in enumerate(zip(*three, strict=True)):
        policy = by_hand(folders[0] / "model", case, candidate, picture)
        reference = by_hand(folders[1], case, candidate, picture)
        assert output.mean[i] == pytest.approx(0.5 * float((policy - reference).sum()), abs=1e-4)
        assert output.components["policy_logp"][i] == pytest.approx(float(policy.sum()), abs=1e-4)
        assert output.components["tokens"][i] == len(policy)


@pytest.mark.parametrize("per_token", [False, True])
def test_steps_end_with_the_sentences_and_add_up_to_the_score(folders, three, per_token):
    output = ImplicitReward(*folders, per_token=per_token).score(*three)
    texts = [[c.text[:end] for end, _ in steps] for c, steps in zip(three[1], output.steps, strict=True)]
    assert texts == [
        ["No."], ["A leukocyte is present.", TEXT], ["Yes.", "Yes. One.", "Yes. One.\nIt is."],
    ]  # fmt: skip
    for mean, steps in zip(output.mean, output.steps, strict=True):
        assert sum(score for _, score in steps) == pytest.approx(mean, abs=1e-9)
    assert output.steps[1][0][1] != pytest.approx(output.steps[1][1][1], abs=1e-3)


def test_a_step_is_what_its_own_tokens_say(folders, make):
    cases, pictures = [make.case()], [[RED]]
    whole = ImplicitReward(*folders, beta=1.0).score(cases, [make.candidate(TEXT)], pictures)
    models = folders[0] / "model", folders[1]
    policy, reference = (by_hand(folder, cases[0], make.candidate(TEXT), RED) for folder in models)
    vlm = load_vlm(folders[1])
    n = len(vlm.tokenizer("A leukocyte is present.", add_special_tokens=False).input_ids)
    assert whole.steps[0][0][1] == pytest.approx(float((policy - reference)[:n].sum()), abs=1e-4)


def test_a_policy_against_itself_is_worth_nothing_and_per_token_is_a_mean(folders, three):
    same = ImplicitReward(folders[1], folders[1]).score(*three)
    assert same.mean == (0.0, 0.0, 0.0)
    total, mean = (ImplicitReward(*folders, per_token=p).score(*three) for p in (False, True))
    expected = [m / n for m, n in zip(total.mean, total.components["tokens"], strict=True)]
    assert mean.mean == pytest.approx(expected, abs=1e-9)


def test_a_score_does_not_depend_on_the_batch(folders, three):
    together, alone = (ImplicitReward(*folders, batch_size=n).score(*three).mean for n in (32, 1))
    assert together == pytest.approx(alone, abs=1e-5)


def test_with_blank_images_only_the_text_is_left(folders, make):
    cases, answers = [make.case(i=0), make.case(i=1)], [make.candidate("No.", i=i) for i in range(2)]
    seen, blank = (ImplicitReward(*folders, blank_images=b) for b in (False, True))
    a, b = blank.score(cases, answers, [[RED], [BLUE]]).mean
    assert a == pytest.approx(b, abs=1e-6)
    a, b = seen.score(cases, answers, [[RED], [BLUE]]).mean
    assert abs(a - b) > 1e-4
    assert blank.name == seen.name + "-blank" != ImplicitReward(*reversed(folders)).name


def test_a_log_ratio_that_is_no_number_is_invalid(folders, three):
    reward = ImplicitReward(*folders)
    with torch.no_grad():
        reward.policy.model.get_output_embeddings().weight.fill_(math.nan)
    output = reward.score(*three)
    assert not any(output.valid) and output.reasons[0] == "the log-ratio is not finite" and output.steps[0] is None


@pytest.mark.parametrize(
    ("changes", "differs"),
    [({"corpus": "Quite other words, quite other words."}, "tokenizer"), ({"size": 48}, "image processor")],
)
def test_models_that_read_differently_are_refused(folders, tmp_path, changes, differs):
    save_vlm(build(1, **changes), tmp_path / "other")
    with pytest.raises(ValueError, match=f"policy and reference differ in their {differs}"):
        ImplicitReward(tmp_path / "other", folders[1])


def test_what_is_missing_is_named(folders, three, reward_run):
    with pytest.raises(ValueError, match="looks at the images"):
        ImplicitReward(*folders).score(*three[:2])
    with pytest.raises(ValueError, match="holds a reward model"):
        ImplicitReward(reward_run, folders[1])
    with pytest.raises(ValueError, match="beta is 0"):
        ImplicitReward(*folders, beta=0)
