import pytest
import yaml

from vlmalign.training import DpoConfig, RewardConfig, SftConfig, make_config

MINIMAL = {"model": "m", "data": "d", "out": "o", "epochs": 1}


def test_a_path_a_list_and_a_mapping_all_name_data():
    config = make_config(SftConfig, {**MINIMAL, "data": ["a", {"path": "b", "repeat": 2}]})
    assert [(s.path, s.repeat) for s in config.data] == [("a", 1), ("b", 2)]
    assert make_config(SftConfig, MINIMAL).data[0].path == "d"


def test_a_resolved_config_reads_back_as_itself():
    config = make_config(DpoConfig, {**MINIMAL, "lora": {"rank": 4}, "anchor_data": ["a"], "anchor_weight": 0.5})
    assert make_config(DpoConfig, yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_an_error_names_file_key_and_remedy():
    with pytest.raises(ValueError) as error:
        make_config(SftConfig, {**MINIMAL, "learning_rat": 1.0e-4}, where="sft.yaml")
    assert str(error.value) == "sft.yaml: unknown key 'learning_rat'. Did you mean 'learning_rate'?"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": None}, "none of epochs, max_steps and max_flops given: set exactly one"),
        ({"max_steps": 3}, "epochs and max_steps given: set exactly one"),
        ({"lora": {}, "freeze": ["language"]}, "lora trains the language model and freeze names it"),
        ({"lora": {}, "freeze": ["vision"]}, "lora already freezes"),
        ({"freeze": ["vision", "projector", "language"]}, "nothing is trained"),
        ({"eval_steps": 5}, "eval_data is empty"),
        ({"anchor_weight": 0.5}, "anchor_data has 0 folders and anchor_weight is 0.5"),
        ({"anchor_data": "a"}, "set both, or neither"),
        ({"loss": {"label_smoothing": 0.5}}, "'loss.sigmoid.label_smoothing' is 0.5"),
        ({"loss": {"name": "hinge", "beta": 0}}, "'loss.hinge.beta' is 0"),
        (
            {"loss": {"name": "hinge", "label_smoothing": 0.1}},
            "unknown key 'loss.hinge.label_smoothing'. Known keys:",
        ),
        ({"loss": "qqqq"}, "unknown loss 'qqqq'. Known losses: cpo,"),
        ({"loss": "simp"}, "unknown loss 'simp'. Did you mean 'simpo'?"),
        ({"loss": {"name": "flex", "beta_rejected": 0.2}}, "beta_rejected is 0.2 and beta_chosen 0.1"),
        ({"loss": "orpo", "sft_weight": 1}, "orpo holds its token loss already: drop sft_weight"),
        ({"loss": "plackett_luce"}, "loss plackett_luce ranks a case's answers and group_pairs is not set"),
        ({"loss": "kto", "group_pairs": True}, "group_pairs is set and loss kto judges each answer by itself"),
        ({"loss": "kto", "batch_size": 1}, "batch_size is 1 and loss kto takes the mean over a batch"),
        ({"loss": "simpo", "reference_cache": "r"}, "reference_cache is set and loss simpo has no reference"),
        ({"freeze": ["head"]}, "'freeze.0' is 'head'"),
        ({"lora": {"ranks": 4}}, "unknown key 'lora.ranks'. Did you mean 'rank'?"),
        ({"data": [{"path": "d", "repeats": 2}]}, "unknown key 'data.0.repeats'. Did you mean 'repeat'?"),
        ({"qqqq": 1}, "unknown key 'qqqq'. Known keys:"),
    ],
)
def test_contradictions_and_bad_values_are_refused_when_read(change, message):
    with pytest.raises(ValueError) as error:
        make_config(DpoConfig, {**MINIMAL, **change}, where="here")
    assert message in str(error.value) and str(error.value).startswith("here: ")


def test_a_missing_key_is_named():
    with pytest.raises(ValueError, match="key 'model' is missing. Add it."):
        make_config(RewardConfig, {"data": "d", "out": "o", "epochs": 1})


def test_every_setting_is_documented():
    for config_type in (SftConfig, RewardConfig, DpoConfig):
        assert not [name for name, field in config_type.model_fields.items() if not field.description]
