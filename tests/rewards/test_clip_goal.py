"""A tiny CLIP, made in code and saved as open_clip saves."""

import json
import math
import shutil

import pytest
import torch
from PIL import Image

from vlmalign.rewards import Reward, load_reward
from vlmalign.rewards.clip_goal import NO_IMAGE, NO_TEXT, SAME_AS_BASELINE, ClipGoalReward

RED, BLUE = (Image.new("RGB", (40, 32), colour) for colour in ((220, 30, 30), (20, 30, 200)))
FIELD = ["A blood smear field."]


@pytest.fixture(scope="session")
def folder(clip_folder):
    return clip_folder


@pytest.fixture
def architecture(folder):
    return json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]


@pytest.fixture(scope="module")
def reward(folder):
    return ClipGoalReward(folder, baseline=FIELD, alpha=0.5)


@pytest.fixture
def three(make):
    cases = [make.case(i=0), make.case(i=0), make.case(i=1)]
    texts = ["No leukocyte is seen.", "A leukocyte is present. It is large.", "A leukocyte is present."]
    candidates = [make.candidate(text, i=i // 2, n=i % 2) for i, text in enumerate(texts)]
    return cases, candidates, [[RED], [RED], [BLUE]]


def test_an_answers_score_is_the_formula_on_its_sentences_and_the_picture(reward, three):
    output = reward.score(*three)
    assert isinstance(reward, Reward) and all(output.valid) and all(math.isnan(std) for std in output.std)
    x = reward.clip.embed_images([RED])[0]
    sentences = reward.clip.embed_texts(["A leukocyte is present.", "It is large."])
    goal, base = sentences.mean(0), reward.clip.embed_texts(FIELD)[0]
    d = goal - base
    matrix = 0.5 * torch.outer(d, d) / (d @ d) + 0.5 * torch.eye(16)
    assert output.mean[1] == pytest.approx(1 - 0.5 * float((matrix @ (x - goal)).square().sum()), abs=1e-6)
    assert output.components["goal_similarity"][1] == pytest.approx(float(x @ goal), abs=1e-6)
    assert output.components["baseline_similarity"][1] == pytest.approx(float(x @ base), abs=1e-6)
    assert len({round(mean, 6) for mean in output.mean}) == 3


def test_embeddings_are_those_of_the_model_and_do_not_depend_on_the_batch(folder, reward, three):
    from open_clip import get_tokenizer

    tokens = get_tokenizer(f"local-dir:{folder}")(["A leukocyte is present."])
    with torch.no_grad():
        own = reward.clip.model.encode_text(tokens, normalize=True)[0].double()
    torch.testing.assert_close(reward.clip.embed_texts(["A leukocyte is present."])[0], own, atol=1e-6, rtol=0)
    alone = ClipGoalReward(folder, baseline=FIELD, alpha=0.5, batch_size=1)
    assert alone.score(*three).mean == pytest.approx(reward.score(*three).mean, abs=1e-6)
    assert alone.name == reward.name != ClipGoalReward(folder, baseline=FIELD, alpha=0.4).name


def test_a_sweep_gives_what_the_rewards_of_each_alpha_give_from_one_pass(folder, reward, three):
    swept = reward.alpha_sweep(*three, alphas=[0.0, 0.5, 1.0])
    for alpha, output in swept.items():
        alone = ClipGoalReward(folder, baseline=FIELD, alpha=alpha).score(*three)
        assert (output.mean, output.components) == (alone.mean, alone.components)
    assert swept[0.0].mean != swept[1.0].mean
    # 2 pictures, 3 sentences and the baseline, whatever the number of alphas
    assert swept[1.0].flops == reward.clip.flops(images=2, texts=4) > 0


def test_operations_of_a_picture_are_counted_with_its_attention(reward):
    reward.clip.embed_images([RED])
    patches, linear = 2 * 3 * 16 * 16 * 32 * 4, 2 * (4 * 32 * 32 + 2 * 32 * 128) * 5
    attention = 4 * 32 * 5 * 5
    assert reward.clip.flops(images=1, texts=0) == patches + 2 * (linear + attention) + 2 * 32 * 16


def test_several_pictures_count_by_their_mean_or_by_the_best(folder, make):
    cases, answers = [make.case()], [make.candidate("A leukocyte is present.")]
    of = {pool: ClipGoalReward(folder, pool=pool) for pool in ("mean", "max")}
    red, blue = (of["mean"].score(cases, answers, [[picture]]).mean[0] for picture in (RED, BLUE))
    both = {pool: reward.score(cases, answers, [[RED, BLUE]]).mean[0] for pool, reward in of.items()}
    assert both == {"mean": pytest.approx((red + blue) / 2), "max": pytest.approx(max(red, blue))}
    assert red != pytest.approx(blue, abs=1e-6)


def test_with_blank_images_only_the_text_is_left(folder, make):
    cases, answers = [make.case(i=0), make.case(i=1)], [make.candidate("A cell.", i=i) for i in range(2)]
    blind = ClipGoalReward(folder, blank_images=True)
    red, blue = blind.score(cases, answers, [[RED], [BLUE]]).mean
    assert red == pytest.approx(blue, abs=1e-6)
    assert blind.name == ClipGoalReward(folder).name + "-blank"


def test_a_mean_of_sentences_is_longer_when_normalised_and_a_single_one_is_not(folder, three):
    plain, unit = (ClipGoalReward(folder, normalize=n).score(*three).mean for n in (False, True))
    assert plain[0] == pytest.approx(unit[0]) and plain[2] == pytest.approx(unit[2])
    assert plain[1] != pytest.approx(unit[1], abs=1e-6)


def test_with_fixed_goals_the_score_is_the_pictures(folder, three):
    output = ClipGoalReward(folder, goals=["A large cell."], baseline=FIELD, alpha=0.3).score(*three)
    assert output.mean[0] == output.mean[1] != output.mean[2]


def test_a_negation_holds_an_answer_against_the_other_values_of_what_it_claims(folder, make):
    reward = ClipGoalReward(folder, baseline="negation", logic="peripheral_smear", alpha=1.0)
    cases = [make.case()] * 3
    talk = make.candidate("Two platelets.", "Is a leukocyte present?", "No.", n=1)
    answers = [make.candidate("No leukocyte is seen."), talk, make.candidate("Lovely weather.", n=2)]
    prompts = [reward.baseline.of(*each)[0] for each in zip(cases, answers, strict=True)]
    assert prompts[0] == ("The field contains a leukocyte.",) and prompts[0][0] in prompts[1]
    output = reward.score(cases, answers, [[RED]] * 3)
    assert output.valid == (True, True, False) and output.reasons[2] == "no claim to negate"


def test_what_cannot_be_read_whole_is_invalid_with_the_reason_and_not_cut(folder, make, reward):
    fourteen, fifteen = (" ".join(["cell"] * n) for n in (14, 15))  # two marks are added, 16 are read
    texts = [fourteen, fifteen, "...", "One <end_of_text> two.", FIELD[0]]
    answers = [make.candidate(text, n=n) for n, text in enumerate(texts)]
    output = reward.score([make.case()] * 5, answers, [[RED]] * 5)
    assert output.valid == (True, False, False, False, False)
    assert output.reasons[1].startswith("a text has 17 tokens and the model reads 16")
    assert output.reasons[2] == NO_TEXT and output.reasons[4] == SAME_AS_BASELINE
    assert output.reasons[3].startswith("a text spells a special token")
    nothing = reward.score([make.case()] * 2, [answers[2], answers[0]], [[RED], []])
    assert nothing.reasons == (NO_TEXT, NO_IMAGE) and nothing.flops == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"alpha": 0.5}, "alpha is 0.5 and baseline is not given"),
        ({"alpha": -1}, "alpha is -1, expected 0 to 1"),
        ({"baseline": "negate"}, "baseline is 'negate', expected a list"),
        ({"baseline": "negation"}, "logic is not given"),
        ({"baseline": FIELD, "logic": "peripheral_smear"}, "baseline is not 'negation': drop logic"),
        ({"baseline": "negation", "logic": "peripheral_smear", "goals": FIELD}, "goals are fixed"),
        ({"goals": FIELD, "baseline": FIELD, "alpha": 0.1}, "goals and baseline are equal in the model"),
        ({"goals": "A cell."}, "goals is 'A cell.', expected a list of prompts"),
        ({"goals": ["cell " * 20]}, "a text has 22 tokens and the model reads 16.*nothing is cut"),
        ({"pool": "best"}, "pool is 'best', expected 'mean' or 'max'"),
        ({"checkpoint": "x.safetensors"}, "has weights of its own: drop checkpoint"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(folder, settings, says):
    with pytest.raises(ValueError, match=says):
        load_reward("clip", model=folder, **settings)


def test_images_and_alphas_must_be_given(reward, three):
    with pytest.raises(ValueError, match="looks at the images"):
        reward.score(*three[:2])
    with pytest.raises(ValueError, match="alphas is empty"):
        reward.alpha_sweep(*three, alphas=[])


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused_unread(folder, tmp_path, name):
    (tmp_path / "open_clip_config.json").write_bytes((folder / "open_clip_config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"has no \*.safetensors"):
        ClipGoalReward(tmp_path)
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(ValueError, match=f"holds only {name}, which may be pickled"):
        ClipGoalReward(tmp_path)
    with pytest.raises(ValueError, match=f"checkpoint is .*{name}, which may be pickled"):
        ClipGoalReward("ViT-B-32", checkpoint=tmp_path / name)


def test_weights_of_another_architecture_are_refused(folder, architecture, tmp_path):
    changed = {**architecture, "embed_dim": 8}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": changed, "preprocess_cfg": {}}))
    (tmp_path / "model.safetensors").symlink_to(folder / "open_clip_model.safetensors")
    with pytest.raises(ValueError, match="do not fit"):
        ClipGoalReward(tmp_path)


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("ViT-B-32", ValueError, "is an architecture without weights: give checkpoint"),
        ("ViT-B-33", FileNotFoundError, "is no folder and no architecture of open_clip"),
    ],
)
def test_a_model_without_weights_is_refused(model, error, says):
    with pytest.raises(error, match=says):
        ClipGoalReward(model)


def test_a_folder_that_is_no_clip_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no open_clip_config.json"):
        ClipGoalReward(tmp_path)


def test_an_architecture_is_read_from_a_checkpoint_with_its_usual_preparation(
    folder, architecture, tmp_path, monkeypatch, three
):
    """The tiny architecture, known by a name, gives what its folder gives."""
    import open_clip

    path = tmp_path / "tiny-clip.json"
    path.write_text(json.dumps(architecture))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    open_clip.add_model_config(path)
    named = ClipGoalReward("tiny-clip", checkpoint=folder / "open_clip_model.safetensors")
    assert named.score(*three).mean == pytest.approx(ClipGoalReward(folder).score(*three).mean)


@pytest.fixture
def hub(folder, monkeypatch):
    """Pretend that the Hub holds these files of the tiny model, under the name lab/tiny."""
    import huggingface_hub
    import open_clip
    from huggingface_hub.errors import EntryNotFoundError

    held = {"open_clip_config.json"}

    def download(repo_id, filename, **kwargs):
        if repo_id != "lab/tiny":
            raise ConnectionError("no network")
        if filename not in held:
            raise EntryNotFoundError(filename)
        return str(folder / filename)

    for module in (huggingface_hub, open_clip.pretrained):
        monkeypatch.setattr(module, "hf_hub_download", download)
    return held


def test_a_model_of_the_hub_is_read_from_its_safetensors_and_no_other_file(folder, hub, three):
    hub.add("open_clip_pytorch_model.bin")
    with pytest.raises(
        ValueError, match="holds no open_clip_model.safetensors, at most a .bin, which may be pickled"
    ):
        ClipGoalReward("hf-hub:lab/tiny")
    hub.add("open_clip_model.safetensors")
    assert ClipGoalReward("hf-hub:lab/tiny").score(*three).mean == ClipGoalReward(folder).score(*three).mean
    with pytest.raises(
        FileNotFoundError, match=r"hf-hub:lab/other cannot be fetched \(ConnectionError: no network"
    ):
        ClipGoalReward("hf-hub:lab/other")


def test_a_models_own_tokenizer_is_asked_how_long_a_text_is_before_it_cuts(folder, architecture, tmp_path, make):
    """As of a biomedical CLIP, whose text tower has the tokenizer of a BERT."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(
        models.WordLevel({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "cell": 4}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(tmp_path)
    text = {**architecture["text_cfg"], "hf_tokenizer_name": "its/own"}
    config = {"model_cfg": {**architecture, "text_cfg": text}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(folder / "open_clip_model.safetensors")
    reward = ClipGoalReward(tmp_path)
    answers = [make.candidate(" ".join(["cell"] * n), n=n) for n in (14, 15)]
    answers += [make.candidate("Strange words.", n=1), make.candidate("One [SEP] two.", n=2)]
    output = reward.score([make.case()] * 4, answers, [[RED]] * 4)
    assert output.valid == (True, False, True, False)
    assert output.reasons[1].startswith("a text has 17 tokens and the model reads 16")
    assert output.reasons[3].startswith("a text spells a special token")


def test_code_that_lies_beside_a_tokenizer_is_not_run_though_its_configuration_asks_for_it(
    folder, architecture, tmp_path
):
    copied = shutil.copytree(folder, tmp_path / "clip")
    text = {**architecture["text_cfg"], "hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}
    config = {"model_cfg": {**architecture, "text_cfg": text}, "preprocess_cfg": {}}
    (copied / "open_clip_config.json").write_text(json.dumps(config))
    (copied / "config.json").write_text(json.dumps({"model_type": "bert"}))
    tokenizer = {"auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}, "tokenizer_class": "Theirs"}
    (copied / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (copied / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(ValueError, match="no CLIP model can be made of it"):
        ClipGoalReward(copied, baseline=FIELD)
    assert not (tmp_path / "ran").exists()
