"""Reference log-probabilities shared by several runs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from vlmalign.data import DataSource, ExampleDataset
from vlmalign.models import LoraSettings, load_vlm, save_vlm
from vlmalign.records import Preference
from vlmalign.training import DpoConfig, train_dpo
from vlmalign.training.reference import Reference
from vlmalign.training.reference_cache import ReferenceCache, answer_keys, model_key, reference_stats

A, B, C = ("0a" * 16, "0b" * 16, "0c" * 16)


@pytest.fixture
def run(settings, tmp_path, monkeypatch):
    """Train with a shared folder; returns the run folder and what the cache counted."""
    made = []
    begin = ReferenceCache.__init__

    def begin_and_note(self, *args, **rest):
        begin(self, *args, **rest)
        made.append(self.counts)

    monkeypatch.setattr(ReferenceCache, "__init__", begin_and_note)

    def train(**changes):
        out = str(tmp_path / f"run{len(made)}")
        shared = {"max_steps": 2, "reference_cache": tmp_path / "shared", "out": out}
        folder = train_dpo(DpoConfig(**{**settings, **shared, **changes}))
        return folder, made[-1] if made else None

    return train


def test_a_second_run_computes_no_reference_and_ends_with_the_same_bits_and_the_same_flops(run, pairs, make_pairs):
    data = {"data": pairs, "eval_data": make_pairs(n=3, first=60, split="test")}
    alone, _ = run(**data, reference_cache=None, out=str(Path(pairs).parent / "alone"))
    cold, first = run(**data)
    warm, second = run(**data)
    assert first == {"found": 0, "computed": 22, "damaged": 0}
    assert second == {"found": 22, "computed": 0, "damaged": 0}
    for other in (cold, warm):
        for file in ("reference.safetensors", "model/model.safetensors"):
            expected, found = load_file(alone / file), load_file(other / file)
            assert all(expected[name].equal(found[name]) for name in expected)
        flops = [json.loads((folder / "summary.json").read_text())["flops"] for folder in (alone, other)]
        assert flops[0] == flops[1] and flops[0]["reference"] > 0


def test_a_budget_buys_as_many_steps_whether_the_reference_is_there_or_not(run, pairs):
    first, _ = run(data=pairs)
    flops = json.loads((first / "summary.json").read_text())["flops"]
    budget = {"max_steps": None, "max_flops": flops["reference"] + 1.7 * flops["training"]}
    steps = []
    for cache in ({}, {"reference_cache": None}):
        folder, _ = run(data=pairs, **budget, **cache, out=f"{first}{len(steps)}")
        steps.append(json.loads((folder / "summary.json").read_text())["steps"])
    assert steps == [3, 3]


def test_overlapping_data_computes_the_new_answers_only(run, make_pairs):
    run(data=make_pairs(n=5))
    folder, counts = run(data=make_pairs(n=8))
    assert counts == {"found": 10, "computed": 6, "damaged": 0}
    whole, _ = run(data=make_pairs(n=8), reference_cache=None)
    found, expected = (Reference.load(path / "reference.safetensors").logps for path in (folder, whole))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"loss": "kto"}, {"seed": 5, "lora": {"rank": 2}}, {"group_pairs": True, "batch_size": 3}],
)
def test_another_loss_seed_adapter_or_batch_hits(run, pairs, changes):
    run(data=pairs)
    _, counts = run(data=pairs, **changes)
    assert counts["computed"] == 0 < counts["found"]


def test_a_run_from_other_weights_or_in_another_precision_never_hits(run, pairs, tmp_path, settings):
    first, _ = run(data=pairs)
    for changes in ({"model": str(first)}, {"dtype": "mixed"}, {"dtype": "bfloat16"}):
        _, counts = run(data=pairs, **changes)
        assert counts["found"] == 0 < counts["computed"]


def test_every_weight_adapter_setting_and_precision_names_another_model(tiny_folder, tmp_path):
    def key(change=None, lora=None, autocast=False):
        torch.manual_seed(0)
        vlm = load_vlm(tiny_folder, lora=lora)
        if change:
            with torch.no_grad():
                change(vlm.model)
        return model_key(vlm.model, autocast=autocast)

    def nudge(name):
        def change(model):
            parameter = model.get_parameter(name)
            parameter.view(-1)[0] = torch.nextafter(parameter.view(-1)[0], torch.tensor(9.0))

        return change

    def teach_adapters(model):
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.lora_B["default"].weight.fill_(0.01)

    first, *_, last = [name for name, _ in load_vlm(tiny_folder).model.named_parameters()]
    same = key()
    moved = shutil.copytree(tiny_folder, tmp_path / "elsewhere")
    assert key(lora=LoraSettings(r=2)) == same == model_key(load_vlm(moved).model, autocast=False)
    others = [
        key(nudge(first)), key(nudge(last)), key(teach_adapters, LoraSettings(r=2)), key(autocast=True),
        key(lambda model: model.bfloat16()), key(lambda model: setattr(model.config, "vision_feature_layer", -2)),
    ]  # fmt: skip
    assert len({same, *others}) == 1 + len(others)


def test_another_picture_template_or_answer_names_another_answer(tiny, make_pairs):
    def keys(folder):
        return answer_keys(ExampleDataset([DataSource(path=folder)], Preference, tiny.processor).example(0))

    folder = make_pairs(n=1)
    before = keys(folder)
    assert keys(folder) == before == keys(make_pairs(n=2)) and len(set(before)) == 2
    assert not set(before) & set(keys(make_pairs(n=1, first=2)))  # the same texts about another picture
    tiny.processor.image_processor.image_mean = [0.4, 0.5, 0.5]
    normalised = keys(folder)
    tiny.processor.chat_template = "Read this. " + tiny.processor.chat_template
    assert len({*before, *normalised, *keys(folder)}) == 6


def test_what_two_writers_add_at_once_is_there_afterwards(tiny, tmp_path):
    one, two, same = (ReferenceCache(tiny.model, tmp_path) for _ in range(3))
    one.add([A], torch.tensor([-1.0]))
    two.add([A, B], torch.tensor([-1.5, -2.0]))
    same.add([A], torch.tensor([-1.0]))
    for cache in (one, two, same):
        cache.save()
    assert len(list(tmp_path.glob("*/*"))) == 2
    found = ReferenceCache(tiny.model, tmp_path)
    assert found.find([A, C]) is None and found.find([B]).tolist() == [-2.0]
    assert found.find([A]).item() in (-1.0, -1.5)
    assert reference_stats(tmp_path)[found.model][0] == 3


def test_what_is_known_stays_and_a_number_that_is_not_finite_is_not_kept(tiny, tmp_path):
    cache = ReferenceCache(tiny.model, tmp_path)
    assert cache.add([A, B], torch.tensor([-1.0, float("nan")])).isnan().tolist() == [False, True]
    assert cache.add([A, B], torch.tensor([-7.0, -2.0])).tolist() == [-1.0, -2.0]
    cache.add([C], torch.tensor([float("-inf")]))
    cache.save()
    found = ReferenceCache(tiny.model, tmp_path)
    assert found.find([A, B]).tolist() == [-1.0, -2.0] and found.find([C]) is None


def test_a_damaged_file_is_computed_again(run, pairs, tmp_path):
    first, _ = run(data=pairs)
    (file,) = (tmp_path / "shared").glob("*/*.logps")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    second, counts = run(data=pairs)
    assert counts == {"found": 0, "computed": 16, "damaged": 1}
    assert file.read_bytes() == content


def test_the_bound_makes_room_for_new_answers(tiny, tmp_path):
    for number in range(4):
        cache = ReferenceCache(tiny.model, tmp_path, max_bytes=1000)
        cache.add([f"{number:02x}" * 16], torch.tensor([-1.0]))
        cache.save()
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 1000
    assert ReferenceCache(tiny.model, tmp_path).find(["03" * 16]) is not None


def test_a_reference_that_is_not_finite_is_refused_and_not_shared(run, pairs, settings, tmp_path):
    vlm = load_vlm(settings["model"])
    with torch.no_grad():
        vlm.model.get_output_embeddings().weight[5] = float("nan")
    save_vlm(vlm, tmp_path / "broken")
    with pytest.raises(ValueError, match="no reference log-probabilities of 8 of 8 pairs"):
        run(data=pairs, model=str(tmp_path / "broken"))
    assert not (tmp_path / "shared").exists()
