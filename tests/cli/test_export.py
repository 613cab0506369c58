"""`vlmalign export`: folders that the libraries load without us."""

import errno
import json
import shutil

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor


def logits(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 40, 41, 42, 43]])).logits


def test_a_run_is_exported_as_whole_weights_with_its_processor(vlmalign, runs, tmp_path):
    result = vlmalign("export", runs["plain"], "exported")
    assert (result.code, result.out) == (0, "wrote exported (whole weights)\n")
    assert torch.equal(logits(tmp_path / "exported"), logits(runs["plain"] / "model"))
    assert AutoProcessor.from_pretrained(tmp_path / "exported").chat_template


def test_a_lora_run_is_exported_as_an_adapter_that_finds_its_base_model_from_anywhere(
    vlmalign, runs, tiny, tmp_path, monkeypatch
):
    result = vlmalign("export", runs["lora"], "adapter")
    assert f"a LoRA adapter; it loads its base model from {tiny}" in result.out
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())[
        "base_model_name_or_path"
    ] == str(tiny)
    monkeypatch.chdir("/")
    adapted, base = logits(tmp_path / "adapter"), logits(tiny)
    assert not torch.allclose(adapted, base, atol=1e-4)
    torch.testing.assert_close(adapted, logits(runs["lora"] / "model"))
    assert AutoProcessor.from_pretrained(tmp_path / "adapter").chat_template


@pytest.mark.parametrize("name", ["plain", "lora"])
def test_whoever_may_read_new_files_of_ours_may_read_an_exported_model(vlmalign, runs, tmp_path, name):
    (tmp_path / "ordinary").touch()
    vlmalign("export", runs[name], "exported")
    modes = {file.stat().st_mode for file in (tmp_path / "exported").iterdir()}
    assert modes == {(tmp_path / "ordinary").stat().st_mode}


def test_a_relative_base_model_becomes_absolute(vlmalign, runs, tiny, tmp_path):
    shutil.copytree(runs["lora"], tmp_path / "run")
    shutil.copytree(tiny, tmp_path / "base")
    file = tmp_path / "run" / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": "base"}))
    assert vlmalign("export", "run", "adapter").code == 0
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tmp_path / "base")


def test_merged_weights_stand_alone_and_give_the_same_logits_as_the_adapter(vlmalign, runs, tmp_path):
    assert vlmalign("export", runs["lora"], "merged", "--merge").code == 0
    assert vlmalign("export", runs["lora"], "adapter").code == 0
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    torch.testing.assert_close(logits(tmp_path / "merged"), logits(tmp_path / "adapter"))


@pytest.mark.parametrize("name", ["thesis.docx", "full"])
def test_what_is_there_is_never_replaced(refused, runs, tmp_path, name):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "years").write_text("of work")
    (tmp_path / "thesis.docx").write_text("years of work")
    refused("export", runs["plain"], name, says=f"{name} is there already. Delete it or name another folder")
    assert (tmp_path / "full" / "years").exists()


def test_a_folder_without_weights_is_refused(refused, cases):
    refused("export", cases, "out", says="holds no *.safetensors weights. Pass a run folder")


def test_an_export_that_fails_leaves_no_folder_behind(refused, runs, tmp_path, monkeypatch):
    def full(source, target, **options):
        target.mkdir(exist_ok=True)
        (target / "half").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        refused("export", runs["plain"], "exported", says="no space left on device")
    assert not (tmp_path / "exported").exists()
