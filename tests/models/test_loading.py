import builtins
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from vlmalign.models import LoraSettings, RewardModel, forward_responses, load_vlm, save_vlm
from vlmalign.models.loading import add_lora


@pytest.fixture(scope="module")
def folder(vlm, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "vlm"
    save_vlm(vlm, path)
    return path


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_saved_model_scores_the_same_when_loaded(vlm, folder, batch, make_prompts):
    loaded = load_vlm(folder)
    assert torch.equal(forward_responses(loaded.model, batch).logps, forward_responses(vlm.model, batch).logps)
    again = make_prompts(loaded, ("Why?",))
    for name, value in make_prompts(vlm, ("Why?",)).items():
        assert torch.equal(again[name], value), name


def test_weights_are_saved_as_safetensors_only(folder):
    assert list(folder.glob("*.safetensors"))
    assert not list(folder.glob("*.bin")) + list(folder.glob("*.pt"))


def test_lora_trains_adapters_of_the_language_model_only(folder):
    model = load_vlm(folder, lora=LoraSettings(r=2)).model
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained and all("lora_" in name and "language_model" in name for name in trained)
    assert not any(
        "lora_" in name for name, _ in model.named_parameters() if "vision" in name or "projector" in name
    )


def test_lora_targets_can_be_named(folder):
    model = load_vlm(folder, lora=LoraSettings(r=2, targets=("q_proj",))).model
    adapted = {name.split(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    assert len(adapted) == 2 and all(name.endswith("q_proj") and "language_model" in name for name in adapted)


def test_unknown_lora_targets_are_refused(fresh_vlm):
    with pytest.raises(ValueError, match="no linear layer of the language model"):
        add_lora(fresh_vlm.model, LoraSettings(targets=("w_pack",)))


def test_lora_is_merged_into_the_saved_weights(folder, batch, tmp_path):
    adapted = load_vlm(folder, lora=LoraSettings(r=2))
    base = forward_responses(adapted.model, batch).logps
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    expected = forward_responses(adapted.model, batch).logps
    save_vlm(adapted, tmp_path / "merged")
    loaded = load_vlm(tmp_path / "merged")
    assert not any("lora" in name for name, _ in loaded.model.named_parameters())
    torch.testing.assert_close(forward_responses(loaded.model, batch).logps, expected, atol=3e-5, rtol=0)
    assert (base - expected).abs().max() > 1e-2


def test_a_processor_of_another_model_is_refused(copied):
    vlm = load_vlm(copied)
    vlm.model.config.image_token_id = 7
    vlm.model.save_pretrained(copied)
    with pytest.raises(
        ValueError, match="placeholder is token 7, that of LlavaProcessor is 3: .* different models"
    ):
        load_vlm(copied)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        load_vlm(tmp_path / "nowhere")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        load_vlm(tmp_path)


def test_a_text_model_is_refused(tmp_path):
    config = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=9
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="is no image-text checkpoint"):
        load_vlm(tmp_path / "text")


def test_missing_weights_are_refused_by_name(copied):
    weights = load_file(copied / "model.safetensors")
    gone = next(name for name in weights if name.endswith("linear_1.weight"))
    del weights[gone]
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 missing weights .*linear_1\.weight"):
        load_vlm(copied)


def test_unexpected_weights_are_refused_by_name(copied):
    weights = load_file(copied / "model.safetensors") | {"extra.weight": torch.zeros(2)}
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 unexpected weights .*extra\.weight"):
        load_vlm(copied)


def test_weights_of_another_shape_are_refused_by_name(copied):
    weights = load_file(copied / "model.safetensors")
    name = next(name for name in weights if name.endswith("linear_1.weight"))
    weights[name] = torch.zeros(3, 3)
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 mismatched weights .*linear_1\.weight"):
        load_vlm(copied)


def test_pickled_weights_are_refused(copied):
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no loadable safetensors"):
        load_vlm(copied)


def test_an_unknown_dtype_is_refused(folder):
    with pytest.raises(ValueError, match="dtype is 'int4'"):
        load_vlm(folder, dtype="int4")


def test_a_reward_model_is_not_loaded_as_a_language_model(vlm, tmp_path):
    RewardModel(vlm).save(tmp_path / "reward")
    with pytest.raises(ValueError, match="holds a reward model"):
        load_vlm(tmp_path / "reward")


@pytest.mark.parametrize("part", ["config.json", "processor_config.json"])
def test_code_that_lies_beside_a_model_is_neither_run_nor_asked_about(copied, tmp_path, monkeypatch, part):
    ran = tmp_path / "ran"
    (copied / "theirs.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    config = json.loads((copied / part).read_text())
    names = ("AutoConfig", "AutoModelForImageTextToText", "AutoProcessor")
    theirs = {"auto_map": {name: "theirs.Theirs" for name in names}, "model_type": "theirs"}
    (copied / part).write_text(json.dumps({**config, **theirs, "processor_class": "Theirs"}))
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("the user was asked whether to run it"))
    with pytest.raises((ValueError, FileNotFoundError), match="custom code"):
        load_vlm(copied)
    assert not ran.exists()
