import json
import math

import pytest
import torch
from safetensors.torch import load_file

from vlmalign.data import collate, pad_token
from vlmalign.data.critique import REQUEST_VERSION, encode_critiques
from vlmalign.models import forward_responses, load_vlm
from vlmalign.models.critique_model import CritiqueModel
from vlmalign.models.reward_head import HeadSettings
from vlmalign.records import DataError, DatasetBuild, Preference, RecordFolder
from vlmalign.records.suggestions import SettingsError
from vlmalign.training import CritiqueConfig, make_config, train_critique, trainer

RIGHT = "Claim: leukocyte = {0}. The image shows: {0}. Right."
WRONG = "Claim: leukocyte = {0}. The image shows: {1}. Wrong."


@pytest.fixture(scope="session")
def make_criticised(make_pairs, tmp_path_factory):
    """Pairs with true critiques of both answers, or with whatever is given."""

    def make(n=8, first=0, split="train", group="g", **given):
        folder = RecordFolder(make_pairs(n=n, first=first, split=split, group=group), Preference)
        out = tmp_path_factory.mktemp("criticised") / "p"
        with DatasetBuild(out, "preference", {"n": n, "first": first}) as build:
            for i, pair in enumerate(folder, start=first):
                seen, other = ("present", "absent") if i % 2 else ("absent", "present")
                texts = {"chosen_critique": RIGHT.format(seen), "rejected_critique": WRONG.format(other, seen)}
                build.adopt(pair.images[0], folder.path)
                build.commit(pair.id, [pair.model_copy(update={**texts, **given})])
        return str(out)

    return make


def losses_apart(folder, model, head):
    """Of the whole folder: mean pair loss, and mean over critiques of the mean over their tokens."""
    vlm = load_vlm(model)
    records = list(RecordFolder(folder, Preference))
    images = RecordFolder(folder, Preference)
    from vlmalign.data import encode_prompt

    prompts = [encode_prompt(vlm.processor, r.prompt, [images.image(r.images[0])]) for r in records]
    examples = [encode_critiques(vlm.processor, r, p) for r, p in zip(records, prompts, strict=True)]
    batch = collate(examples, pad_token(vlm.processor))["batch"]
    with torch.no_grad():
        output = forward_responses(vlm.model, batch, mode="plain", hidden=True)
        last = batch.response_mask.sum(1) - 1
        rewards = head(output.hidden[torch.arange(len(last)), last]).flatten().view(-1, 2)
    pair = -torch.nn.functional.logsigmoid(rewards[:, 0] - rewards[:, 1])
    tokens = [-(row[mask].mean()) for row, mask in zip(output.logps, batch.loss_mask, strict=True)]
    return pair.mean().item(), torch.stack(tokens).mean().item()


def test_the_joint_loss_is_that_of_the_pairs_and_the_weighted_one_of_their_critiques(
    still_settings, make_criticised, metrics_of
):
    data = make_criticised(n=4)
    config = {**still_settings, "data": data, "batch_size": 4, "max_steps": 1, "critique_weight": 0.5}
    line = metrics_of(train_critique(make_config(CritiqueConfig, config)))[0]
    vlm = load_vlm(still_settings["model"])
    head = CritiqueModel(vlm, HeadSettings(), request="r").head
    pair, token = losses_apart(data, still_settings["model"], head)
    assert math.isclose(line["pair_loss"], pair, rel_tol=1e-4)
    assert math.isclose(line["critique_loss"], token, rel_tol=1e-4)
    assert math.isclose(line["loss"], pair + 0.5 * 2 * token, rel_tol=1e-4)


def test_it_learns_to_write_critiques_and_to_score_after_them(settings, make_criticised):
    held_out = make_criticised(n=4, first=20, split="test", group="h")
    config = {
        **settings,
        "data": make_criticised(),
        "eval_data": held_out,
        "max_steps": 120,
        "learning_rate": 4e-3,
    }
    run = train_critique(make_config(CritiqueConfig, config))
    found = json.loads((run / "summary.json").read_text())
    assert found["evaluation"]["eval_accuracy"] == 1.0
    assert found["evaluation"]["eval_critique_token_probability"] > 0.7
    assert CritiqueModel.load(run / "model").request == REQUEST_VERSION


def test_two_stages_train_the_writer_first_and_then_the_head_alone(
    settings, make_criticised, tmp_path, metrics_of
):
    data = make_criticised(n=4)
    shared = {**settings, "data": data, "mode": "two_stage", "critique_share": 0.5, "weight_decay": 0.1}
    runs = {}
    for steps, share in ((6, 0.5), (4, 0.75)):  # three steps of writing in both, then three, or one, of scoring
        out = str(tmp_path / str(steps))
        changes = {"max_steps": steps, "critique_share": share, "out": out}
        runs[steps] = train_critique(make_config(CritiqueConfig, {**shared, **changes}))
    long, short = (load_file(run / "model" / "model.safetensors") for run in runs.values())
    start = load_file(f"{settings['model']}/model.safetensors")
    assert all(long[name].equal(short[name]) for name in long)  # writing is over after three steps
    assert any(not long[name].equal(start[name]) for name in long)
    heads = [load_file(run / "model" / "reward_head.safetensors")["weight"] for run in runs.values()]
    assert not heads[0].equal(heads[1])
    lines = metrics_of(runs[6])
    for line in lines[:6]:
        expected = 2 * line["critique_loss"] if line["step"] <= 3 else line["pair_loss"]
        assert math.isclose(line["loss"], expected, rel_tol=1e-4)
    assert json.loads((runs[6] / "summary.json").read_text())["critique_steps"] == 3


@pytest.mark.parametrize("critiques", ["own", "both"])
def test_own_critiques_are_scored_after_and_never_imitated(still_settings, make_criticised, metrics_of, critiques):
    given = make_criticised(n=4)
    own = make_criticised(n=4, chosen_critique="Claim: none.", rejected_critique="Claim: none.")
    config = {
        **still_settings, "data": given, "own_data": own, "critiques": critiques, "batch_size": 8, "max_steps": 1,
    }  # fmt: skip
    line = metrics_of(train_critique(make_config(CritiqueConfig, config)))[0]
    head = CritiqueModel(load_vlm(still_settings["model"]), HeadSettings(), request="r").head
    (pair, token), (own_pair, _) = (losses_apart(folder, still_settings["model"], head) for folder in (given, own))
    assert math.isclose(line["critique_loss"], token, rel_tol=1e-4)
    mean = own_pair if critiques == "own" else (pair + own_pair) / 2
    assert math.isclose(line["pair_loss"], mean, rel_tol=1e-4)
    scored = own_pair / 2 if critiques == "own" else mean
    assert math.isclose(line["loss"], scored + token, rel_tol=1e-4)  # of eight pairs four have two critiques each


@pytest.mark.parametrize("mode", ["joint", "two_stage"])
def test_a_stopped_run_ends_with_the_same_bits(settings, make_criticised, tmp_path, monkeypatch, mode):
    shared = {**settings, "data": make_criticised(n=6), "mode": mode, "save_steps": 2}
    straight = train_critique(make_config(CritiqueConfig, {**shared, "out": str(tmp_path / "straight")}))
    config = make_config(CritiqueConfig, {**shared, "out": str(tmp_path / "stopped")})
    original = trainer.StageTrainer.training_step
    for step in (3, 5):
        with monkeypatch.context() as patch:

            def broken(self, *args, at=step, **rest):
                if self.state.global_step == at:
                    raise KeyboardInterrupt
                return original(self, *args, **rest)

            patch.setattr(trainer.StageTrainer, "training_step", broken)
            with pytest.raises(KeyboardInterrupt):
                train_critique(config)
    resumed = train_critique(config)
    for name in ("model.safetensors", "reward_head.safetensors"):
        first, second = (load_file(run / "model" / name) for run in (straight, resumed))
        assert all(first[key].equal(second[key]) for key in first)
    flops = [json.loads((run / "summary.json").read_text())["flops"] for run in (straight, resumed)]
    assert flops[0] == flops[1]


def test_it_learns_on_from_a_critique_model_with_adapters(settings, make_criticised, tmp_path):
    data = make_criticised(n=4)
    first = train_critique(make_config(CritiqueConfig, {**settings, "data": data, "max_steps": 1}))
    again = {**settings, "model": str(first), "data": data, "max_steps": 1, "lora": {"rank": 2}}
    second = train_critique(make_config(CritiqueConfig, {**again, "out": str(tmp_path / "second")}))
    weights = [load_file(run / "model" / "model.safetensors") for run in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    with pytest.raises(ValueError, match="head is .* drop head"):
        train_critique(make_config(CritiqueConfig, {**again, "head": {"kind": "mlp"}, "out": str(tmp_path / "x")}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"chosen_critique": None},
            "record 'p0', field 'chosen_critique': the pair has no critique",
        ),
        ({"rejected_critique": " "}, "record 'p0', field 'rejected_critique': the critique is empty"),
    ],
)
def test_pairs_without_a_critique_are_refused(settings, make_criticised, changes, says):
    with pytest.raises(DataError, match=says):
        train_critique(make_config(CritiqueConfig, {**settings, "data": make_criticised(n=2, **changes)}))


def test_a_critique_longer_than_max_length_is_refused_and_not_cut(settings, make_criticised):
    data = make_criticised(n=2, chosen_critique="Claim: none. " * 40)
    with pytest.raises(DataError, match="max_length is 200"):
        train_critique(make_config(CritiqueConfig, {**settings, "data": data, "max_length": 200}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"critiques": "own"}, "own_data has 0 folders"),
        ({"own_data": ["x"]}, "critiques is 'given' and own_data has 1 folders"),
        ({"critique_share": 0.5}, "mode is joint, which has no stages"),
        ({"mode": "two_stage", "critique_weight": 0}, "begins with that loss alone"),
        ({"head": {"members": 3}}, "head has 3 members"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, changes, says):
    with pytest.raises(SettingsError, match=says):
        make_config(CritiqueConfig, {**settings, "data": ["d"], **changes})
