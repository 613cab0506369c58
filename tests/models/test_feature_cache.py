import multiprocessing

import pytest
import torch

from vlmalign.models import LoraSettings, forward_responses, sequence_logps
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.loading import add_lora

QUESTIONS = ("Why?", "Describe this field.", "Is a leukocyte present?")


@pytest.fixture
def frozen(fresh_vlm):
    fresh_vlm.model.requires_grad_(False)
    return fresh_vlm.model


@pytest.fixture
def images(vlm, make_prompts):
    return make_prompts(vlm, QUESTIONS)


def features(cache, images):
    return torch.stack(list(cache.replace_images(images)["mm_encoder_outputs"]["image"].pooler_output))


def files(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_every_image_is_computed_once_and_kept_for_the_next_process(frozen, images, tmp_path):
    first = FeatureCache(frozen, tmp_path)
    found = features(first, images)
    features(first, images)
    assert first.counts == {"memory": 3, "disk": 0, "computed": 3, "damaged": 0} and len(files(tmp_path)) == 3
    first.forget()
    assert torch.equal(features(first, images), found) and first.counts["disk"] == 3
    second = FeatureCache(frozen, tmp_path)
    assert torch.equal(features(second, images), found)
    assert second.counts == {"memory": 0, "disk": 3, "computed": 0, "damaged": 0}


def test_features_are_those_of_the_model(frozen, images):
    expected = torch.stack(list(frozen.model.get_image_features(images["pixel_values"]).pooler_output))
    torch.testing.assert_close(features(FeatureCache(frozen), images), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("part", ["vision_tower", "multi_modal_projector"])
def test_another_tower_or_projector_never_hits(frozen, images, tmp_path, part):
    features(FeatureCache(frozen, tmp_path), images)
    with torch.no_grad():
        next(getattr(frozen.model, part).parameters()).mul_(1.001)
    changed = FeatureCache(frozen, tmp_path)
    features(changed, images)
    assert changed.counts["disk"] == 0 and changed.counts["computed"] == 3


def test_a_tower_that_changes_under_the_cache_is_noticed(frozen, images, tmp_path):
    cache = FeatureCache(frozen, tmp_path)
    features(cache, images)
    with torch.no_grad():
        frozen.model.language_model.embed_tokens.weight.add_(1)  # as training does
        features(cache, images)
        assert cache.counts["computed"] == 3
        frozen.load_state_dict({name: 1.1 * value for name, value in frozen.state_dict().items()})
    expected = torch.stack(list(frozen.model.get_image_features(images["pixel_values"]).pooler_output))
    torch.testing.assert_close(features(cache, images), expected, atol=1e-5, rtol=1e-5)
    frozen.model.multi_modal_projector.requires_grad_(True)
    with pytest.raises(ValueError, match="parameters of the vision side are trained"):
        features(cache, images)


def test_the_language_model_is_no_part_of_the_key(frozen, images, tmp_path):
    features(FeatureCache(frozen, tmp_path), images)
    with torch.no_grad():
        frozen.lm_head.weight.mul_(2)
        next(frozen.model.language_model.parameters()).mul_(2)
    again = FeatureCache(frozen, tmp_path)
    features(again, images)
    assert again.counts["disk"] == 3


def test_another_processing_of_the_same_picture_never_hits(frozen, images, tmp_path):
    features(FeatureCache(frozen, tmp_path), images)
    again = FeatureCache(frozen, tmp_path)
    features(again, {**images, "pixel_values": images["pixel_values"] * 1.01})
    assert again.counts["computed"] == 3


@pytest.mark.parametrize("part", ["vision_tower", "multi_modal_projector"])
def test_a_trained_vision_side_is_refused_by_name_and_left_as_it_was(frozen, images, part):
    parameter = next(getattr(frozen.model, part).parameters())
    parameter.requires_grad_(True)
    with pytest.raises(ValueError, match=rf"1 parameters of the vision side are trained, e.g. .{part}"):
        features(FeatureCache(frozen), images)
    assert [p is parameter for p in frozen.parameters() if p.requires_grad] == [True]


def test_lora_on_the_language_model_trains_alike_with_cached_features(fresh_vlm, make_prompts, make_batch):
    model = add_lora(fresh_vlm.model, LoraSettings(r=2))
    batch = make_batch(make_prompts(fresh_vlm, QUESTIONS), [[5, 1], [2], [4, 5]])
    found = []
    for cache in (None, FeatureCache(model)):
        model.zero_grad()
        output = forward_responses(model.train(), batch, features=cache)
        sequence_logps(output, batch).sum().backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) > 0
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_damaged_file_is_counted_and_computed_again(frozen, images, tmp_path):
    expected = features(FeatureCache(frozen, tmp_path), images)
    files(tmp_path)[0].write_bytes(b"half")
    again = FeatureCache(frozen, tmp_path)
    assert torch.equal(features(again, images), expected)
    assert again.counts == {"memory": 0, "disk": 2, "computed": 1, "damaged": 1}
    assert len(files(tmp_path)[0].read_bytes()) > 100


def test_memory_is_bounded(frozen, images):
    cache = FeatureCache(frozen, memory_bytes=1000)
    features(cache, images)
    features(cache, images)
    assert (
        cache.counts["computed"] > 3 and sum(v.nbytes for e in cache._memory.values() for v in e.values()) <= 1000
    )


def test_text_alone_needs_no_features(frozen):
    inputs = {"input_ids": torch.tensor([[1, 2]])}
    assert FeatureCache(frozen).replace_images(inputs) == inputs


def test_several_processes_share_a_folder(frozen, images, tmp_path):
    expected = features(FeatureCache(frozen), images)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(frozen, images, tmp_path, expected)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(files(tmp_path)) == 3 == len([p for p in tmp_path.rglob("*") if p.is_file()])


def _fill(model, images, folder, expected):
    torch.set_num_threads(1)
    for _ in range(10):
        torch.testing.assert_close(features(FeatureCache(model, folder), images), expected, atol=1e-6, rtol=0)
        for path in files(folder)[:1]:
            path.unlink(missing_ok=True)
    features(FeatureCache(model, folder), images)
