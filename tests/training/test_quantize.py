"""QLoRA: refused where it cannot be had; what is saved is what was trained."""

import json

import pytest
import torch

from vlmalign.models import LoraSettings, PromptBatch, forward_responses, load_vlm
from vlmalign.models.loading import check_quantization
from vlmalign.records.suggestions import SettingsError
from vlmalign.training import SftConfig, make_config, sft, train_sft


def test_four_bits_without_a_gpu_are_refused_before_anything_is_written(settings, demos, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = make_config(SftConfig, {**settings, "data": demos, "lora": {"quantize": "nf4"}})
    with pytest.raises(ValueError, match="lora.quantize needs a CUDA device and there is none: drop it"):
        train_sft(config)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="needs a CUDA device"):
        load_vlm(settings["model"], lora=LoraSettings(quantize="float32"))


def test_four_bits_without_their_package_name_the_extra(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("vlmalign.models.quantization.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"bitsandbytes, which is not installed: pip install 'vlmalign\[gpu\]'"):
        check_quantization()


def test_four_bits_are_a_setting_of_adapters_only(settings, demos):
    given = {**settings, "data": demos}
    with pytest.raises(SettingsError, match="unknown key 'quantize'"):
        make_config(SftConfig, {**given, "quantize": "nf4"})
    with pytest.raises(SettingsError, match="nf4"):
        make_config(SftConfig, {**given, "lora": {"quantize": "int8"}})


def test_the_model_saved_from_four_bits_is_the_one_that_was_trained(settings, demos, tmp_path, monkeypatch):
    pytest.importorskip("bitsandbytes", reason="the extra `gpu`; its rounding runs on a CPU too")
    for module in ("models.loading", "training.processes"):
        monkeypatch.setattr(f"vlmalign.{module}.check_quantization", lambda: None)
    trained = {}

    def keep(vlm, folder):
        trained["model"] = vlm.model.train()
        save(vlm, folder)

    save = sft.save_vlm
    monkeypatch.setattr(sft, "save_vlm", keep)
    lora = {"rank": 2, "quantize": "nf4"}
    run = train_sft(SftConfig(**{**settings, "data": demos, "lora": lora, "learning_rate": 1e-2, "save_steps": 2}))
    assert not any("quant" in key for key in json.loads((run / "model" / "config.json").read_text()))
    batch = batch_of(torch.tensor([[40, 41], [42, 2]]))
    with torch.no_grad():
        found = forward_responses(load_vlm(run / "model").model, batch).logps
        expected = forward_responses(without_dropout(trained["model"]), batch).logps
        start = forward_responses(load_vlm(settings["model"]).model, batch).logps
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - start).abs().max() > 1e-2


def batch_of(ids):
    prompts = {
        "input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]),
        "attention_mask": torch.ones(1, 6).long(),
        "pixel_values": torch.zeros(1, 3, 32, 32),
    }
    return PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 0]))


def without_dropout(model):
    """In training mode, as bitsandbytes on a CPU rounds once more outside of it."""
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    return model
