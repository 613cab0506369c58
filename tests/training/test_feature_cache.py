import pytest

from vlmalign.models import FeatureCache
from vlmalign.records.sized_folder import SizedFolder
from vlmalign.training import (
    DpoConfig,
    RewardConfig,
    SftConfig,
    make_config,
    train_dpo,
    train_reward,
    train_sft,
)

STAGES = {"sft": (SftConfig, train_sft), "reward": (RewardConfig, train_reward), "dpo": (DpoConfig, train_dpo)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_learns_the_same_with_cached_features_and_computes_them_once(
    stage, settings, demos, pairs, metrics_of, tmp_path, monkeypatch
):
    made = []
    begin = FeatureCache.__init__

    def begin_and_note(self, *args, **rest):
        begin(self, *args, **rest)
        made.append(self)

    monkeypatch.setattr(FeatureCache, "__init__", begin_and_note)
    config_type, train = STAGES[stage]
    data = demos if stage == "sft" else pairs
    plain = {**settings, "data": data, "lora": {"rank": 2}, "max_steps": 8}
    cached = {**plain, "feature_cache": tmp_path / "features"}
    losses = []
    for number, config in enumerate((plain, cached, cached)):
        run = train(make_config(config_type, {**config, "out": str(tmp_path / f"run{number}")}))
        losses.append([line["loss"] for line in metrics_of(run) if "loss" in line])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and losses[2] == losses[1]
    cold, warm = made
    images = SizedFolder(tmp_path / "features", 2**30).stats().files
    assert cold.counts["computed"] == images > 0
    assert warm.counts["computed"] == 0 and warm.counts["disk"] == images


def test_a_cache_for_a_vision_side_that_is_trained_is_refused_when_read(settings, pairs):
    for freeze in ([], ["vision"]):
        with pytest.raises(ValueError, match="feature_cache is set and vision or projector is trained"):
            make_config(DpoConfig, {**settings, "data": pairs, "feature_cache": "f", "freeze": freeze})
