import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from experts import load_expert
from experts.zero_shot import mean_direction
from vlmalign.records import DataError

FINDINGS = {
    "pneumonia": {"present": ["pneumonia", "consolidation"], "absent": ["clear lungs"]},
    "effusion": {"present": ["effusion"]},
}
SETTINGS = {"templates": ["{}", "an x-ray with {}"], "findings": FINDINGS}


def pictures(n):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40 + i, 32, 3), dtype=np.uint8)) for i in range(n)]


@pytest.fixture
def expert(adopt_from, clip_folder):
    return load_expert(adopt_from("zero_shot", SETTINGS, {"clip": str(clip_folder)}))


def test_the_probability_is_the_softmax_of_two_mean_directions(expert):
    import open_clip

    (image,) = pictures(1)
    tokens = open_clip.SimpleTokenizer(context_length=16)

    def direction(*texts):
        rows = [
            torch.nn.functional.normalize(expert.model.encode_text(tokens([text]))[0], dim=0) for text in texts
        ]
        total = torch.stack(rows).sum(0)
        return total / total.norm()

    with torch.no_grad():
        seen = expert.model.encode_image(expert.preprocess(image)[None])[0]
        seen = seen / seen.norm()
        yes = direction("pneumonia", "consolidation", "an x-ray with pneumonia", "an x-ray with consolidation")
        no = direction("clear lungs", "an x-ray with clear lungs")
        margin = float(expert.model.logit_scale.exp() * (seen @ yes - seen @ no))
    found = expert.examine([image])[0].presences
    assert list(found) == ["effusion", "pneumonia"]
    assert found["pneumonia"].probability == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-5)


def test_a_long_prompt_counts_no_more_than_a_short_one():
    assert torch.allclose(
        mean_direction(torch.tensor([[100.0, 0.0], [0.0, 1.0]])), torch.tensor([0.5**0.5, 0.5**0.5])
    )


def test_exchanging_the_wordings_turns_the_probability_over(adopt_from, clip_folder, expert):
    turned = {"pneumonia": {"present": ["clear lungs"], "absent": ["pneumonia", "consolidation"]}}
    other = load_expert(
        adopt_from("zero_shot", {**SETTINGS, "findings": turned}, {"clip": str(clip_folder)}, name="turned")
    )
    for image in pictures(3):
        one, two = (e.examine([image])[0].presences["pneumonia"].probability for e in (expert, other))
        assert one + two == pytest.approx(1, abs=1e-5)


def test_what_is_found_does_not_depend_on_the_images_of_the_same_call(expert):
    images = pictures(18)
    together = [one.presences["effusion"].probability for one in expert.examine(images)]
    assert together == pytest.approx(
        [expert.examine([i])[0].presences["effusion"].probability for i in images], abs=2e-6
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"templates": ["an x-ray"]}, "needs one {}"),
        ({"findings": {"a": {"present": ["x"], "absent": ["x"]}}}, "for and against"),
        (
            {"findings": {"a": {"present": ["one two three four five six seven " * 3]}}},
            "tokens and the model reads 16",
        ),
        ({"thresholds": {"mass": 0.5}}, "none of the findings"),
        ({"views": ["as_is", "mirrored"]}, "laterality_matters is true"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(adopt_from, clip_folder, change, message):
    with pytest.raises(DataError, match=message):
        adopt_from("zero_shot", {**SETTINGS, **change}, {"clip": str(clip_folder)})


def test_a_clip_with_pickled_weights_only_is_refused(adopt_from, clip_folder, tmp_path):
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "open_clip_config.json").write_bytes((clip_folder / "open_clip_config.json").read_bytes())
    torch.save({}, pickled / "open_clip_pytorch_model.bin")
    with pytest.raises(DataError, match="no safetensors weights"):
        adopt_from("zero_shot", SETTINGS, {"clip": str(pickled)})


def test_code_that_lies_beside_a_tokenizer_is_not_run_though_its_configuration_asks_for_it(
    adopt_from, clip_folder, tmp_path
):
    copied = shutil.copytree(clip_folder, tmp_path / "theirs")
    config = json.loads((copied / "open_clip_config.json").read_text())
    asks = {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}
    config["model_cfg"]["text_cfg"] |= asks
    (copied / "open_clip_config.json").write_text(json.dumps(config))
    (copied / "config.json").write_text(json.dumps({"model_type": "bert"}))
    tokenizer = {"auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}, "tokenizer_class": "Theirs"}
    (copied / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (copied / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(DataError, match="cannot make the model"):
        load_expert(adopt_from("zero_shot", SETTINGS, {"clip": str(copied)}, name="asking"))
    assert not (tmp_path / "ran").exists()
