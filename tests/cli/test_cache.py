import torch

from vlmalign.models.tiny import build_tiny_llava
from vlmalign.records.sized_folder import SizedFolder
from vlmalign.training.reference_cache import ReferenceCache


def test_a_cache_is_counted_and_emptied(vlmalign, tmp_path):
    for name in ("a/1", "a/2", "b/1"):
        with SizedFolder(tmp_path / "features", 2**30).writing(name + ".safetensors") as partial:
            partial.write_bytes(b"x" * 2**20)
    shown = vlmalign("cache", "stats", "features").out.splitlines()
    assert [line.split()[1:4:2] for line in shown if " a " in line or " all " in line] == [
        ["a", "2"],
        ["all", "3"],
    ]
    assert vlmalign("cache", "clear", "features").out == "deleted 3 images, 3.0 MiB\n"
    assert vlmalign("cache", "clear", "features").out == "deleted 0 images, 0.0 MiB\n"


def test_reference_answers_are_counted_and_emptied_and_what_else_lies_there_stays(vlmalign, tmp_path):
    vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16, vision_layers=1, heads=2)
    cache = ReferenceCache(vlm.model, tmp_path / "shared")
    cache.add(["00" * 16, "01" * 16], torch.tensor([-1.0, -2.0]))
    cache.save()
    (tmp_path / "shared" / cache.model / "notes.txt").write_text("mine")
    shown = vlmalign("cache", "stats", "shared").out
    assert [line.split()[1:4:2] for line in shown.splitlines() if cache.model in line or " all " in line] == [
        [cache.model, "2"],
        ["all", "2"],
    ]
    assert "reference" in shown and "images" not in shown
    assert vlmalign("cache", "clear", "shared").out == "deleted 2 reference answers, 0.0 MiB\n"
    assert vlmalign("cache", "clear", "shared").out == "deleted 0 images, 0.0 MiB\n"
    assert (tmp_path / "shared" / cache.model / "notes.txt").exists()


def test_a_cache_that_is_not_there_is_refused(refused):
    refused("cache", "stats", "nowhere", says="nowhere: no such folder")
