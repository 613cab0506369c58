import json
import math

import pytest
import torch

from vlmalign.models import load_vlm
from vlmalign.training import SftConfig, train_sft


def weights(run):
    return {name: value for name, value in load_vlm(run / "model").model.named_parameters()}


def test_the_loss_falls_below_what_can_be_learnt_without_the_image(settings, demos, metrics_of):
    config = {**settings, "data": demos, "batch_size": 4, "max_steps": 80, "learning_rate": 5e-3}
    run = train_sft(SftConfig(**config))
    losses = [line["loss"] for line in metrics_of(run)]
    # two answers of six tokens, equally frequent: a blind model pays log 2 once per answer
    assert losses[0] > 4 and losses[-1] < 0.6 * math.log(2) / 6
    summary = json.loads((run / "summary.json").read_text())
    assert summary["last"]["sure_tokens"] == 1.0 and summary["forward_mode"] == "packed"


def test_an_error_of_the_forward_names_the_records(settings, demos, monkeypatch):
    def refuse(*args, **kwargs):
        raise ValueError("prompt row 0 has 3 image tokens")

    monkeypatch.setattr("vlmalign.training.sft.forward_responses", refuse)
    with pytest.raises(ValueError, match=r"records \['\w+:d\d', '\w+:d\d'\]: prompt row 0 has 3 image tokens"):
        train_sft(SftConfig(**{**settings, "data": demos}))


def test_the_last_step_is_logged_wherever_it_falls(settings, demos, metrics_of):
    run = train_sft(SftConfig(**{**settings, "data": demos, "max_steps": 6, "logging_steps": 4}))
    lines = metrics_of(run)
    assert [line["step"] for line in lines] == [1, 4, 6]
    assert json.loads((run / "summary.json").read_text())["last"]["loss"] == lines[-1]["loss"]


def test_one_batch_of_four_takes_the_same_steps_as_four_batches_of_one(settings, make_demos, metrics_of, tmp_path):
    data = make_demos(n=6)  # 6 = 4 + 2: the last step of the epoch is a smaller one
    runs = []
    for name, batch, accumulation in (("one", 4, 1), ("four", 1, 4)):
        config = SftConfig(**{
            **settings, "data": data, "epochs": 2, "max_steps": None, "batch_size": batch,
            "gradient_accumulation": accumulation, "out": str(tmp_path / name), "lr_schedule": "linear",
            "model": without_dropout(settings["model"], tmp_path), "max_grad_norm": 0,
        })  # fmt: skip
        runs.append(train_sft(config))
    losses = [[line["loss"] for line in metrics_of(run)] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][-1] < losses[0][0]


def without_dropout(folder, tmp_path):
    from vlmalign.models import save_vlm

    vlm = load_vlm(folder)
    vlm.model.config.text_config.attention_dropout = 0.0
    target = tmp_path / "plain"
    if not target.exists():
        save_vlm(vlm, target)
    return str(target)


def test_a_demonstration_of_tiny_weight_teaches_next_to_nothing(settings, make_demos, tiny):
    before = {name: value.clone() for name, value in tiny.model.named_parameters()}
    data = make_demos(n=2, weight=1e-30)
    run = train_sft(SftConfig(**{**settings, "data": data, "max_steps": 1, "max_grad_norm": 0}))
    after = weights(run)
    assert max(float((after[n] - before[n]).detach().abs().max()) for n in before) < 1e-6


def test_evaluation_data_is_reported_during_and_after_training(settings, demos, make_demos, metrics_of):
    held_out = make_demos(n=2, first=50, split="test")
    config = SftConfig(**{**settings, "data": demos, "eval_data": [held_out], "eval_steps": 3})
    run = train_sft(config)
    reported = [line["step"] for line in metrics_of(run) if "eval_loss" in line]
    assert reported == [3, 6]
    assert json.loads((run / "summary.json").read_text())["evaluation"]["eval_loss"] > 0


def test_a_loss_that_is_no_number_stops_the_run_and_names_records(settings, demos):
    config = SftConfig(**{**settings, "data": demos, "learning_rate": 1e30, "max_grad_norm": 0, "max_steps": 50})
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) on the records \[.*:d"):
        train_sft(config)


def test_a_budget_of_operations_sets_the_steps_and_is_kept(settings, demos, tmp_path):
    probe = train_sft(SftConfig(**{**settings, "data": demos, "max_steps": 4}))
    per_step = json.loads((probe / "summary.json").read_text())["flops"]["total"] / 4
    config = {
        **settings,
        "data": demos,
        "max_steps": None,
        "max_flops": 7.5 * per_step,
        "out": str(tmp_path / "b"),
    }
    summary = json.loads((train_sft(SftConfig(**config)) / "summary.json").read_text())
    assert summary["steps"] == 7 and summary["flops"]["total"] <= 7.5 * per_step


def test_nothing_is_printed(settings, demos, capfd):
    train_sft(SftConfig(**{**settings, "data": demos, "max_steps": 2}))
    out, err = capfd.readouterr()
    assert out == "" and "loss" not in err


def test_the_saved_models_configuration_is_that_of_the_start(settings, demos, tiny):
    run = train_sft(SftConfig(**{**settings, "data": demos, "max_steps": 1}))
    assert load_vlm(run / "model").model.config.to_diff_dict() == tiny.model.config.to_diff_dict()


def test_gradient_checkpointing_takes_the_same_step(settings, demos, tmp_path):
    runs = []
    for name, on in (("off", False), ("on", True)):
        config = {
            **settings,
            "data": demos,
            "max_steps": 1,
            "gradient_checkpointing": on,
            "out": str(tmp_path / name),
        }
        runs.append(train_sft(SftConfig(**config)))
    first, second = map(weights, runs)
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_mixed_precision_trains_single_precision_weights(settings, demos, metrics_of, tmp_path, lora):
    runs = []
    for dtype in ("float32", "mixed"):
        own = {"dtype": dtype, "lora": lora, "out": str(tmp_path / dtype), "gradient_checkpointing": True}
        model = without_dropout(settings["model"], tmp_path)
        runs.append(train_sft(SftConfig(**{**settings, "data": demos, "model": model, "max_steps": 3, **own})))
    exact, mixed = ([line["loss"] for line in metrics_of(run)] for run in runs)
    assert mixed != exact and mixed == pytest.approx(exact, rel=0.02)
    assert {value.dtype for value in weights(runs[1]).values()} == {torch.float32}
