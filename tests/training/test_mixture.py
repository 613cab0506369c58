import json
import math

import pytest
import torch
from PIL import Image

from vlmalign.models import RewardModel, load_vlm
from vlmalign.records import Candidate, Case, DataError, DatasetBuild, Judgement, RecordFolder, Sampling, assistant
from vlmalign.records.suggestions import SettingsError
from vlmalign.rewards import load_reward, score_pairs
from vlmalign.rewards.answer_encoder import AnswerEncoder
from vlmalign.training import MixtureConfig, make_config, train_mixture
from vlmalign.training.kept_states import KeptStates

TEXTS = {
    "A leukocyte is present.": {"correct": 1.0, "wrong": 0.0},
    "No leukocyte is seen.": {"correct": 0.0, "wrong": 1.0},
    "A leukocyte is present and it is large and round.": {"correct": 1.0, "wrong": 1.0},
}


@pytest.fixture(scope="module")
def judged(make_cases, tmp_path_factory):
    """Twelve cases with three answers each; the last case's answers have no valid judgement."""
    cases, root = make_cases(n=12), tmp_path_factory.mktemp("judged")
    with DatasetBuild(root / "candidates", "candidate", {}) as build:
        for i in range(12):
            for n, text in enumerate(TEXTS):
                build.commit(f"{i}/{n}", [answer(i, n, text)])
        build.commit("cut", [answer(0, 3, "A leuko", finished=False)])
    with DatasetBuild(root / "judged", "judgement", {}) as build:
        for i in range(12):
            for n, components in enumerate(TEXTS.values()):
                valid = {"score": 1.0, "components": components}
                build.commit(f"{i}/{n}", [judgement(i, n, **(valid if i < 11 else {}))])
        build.commit("cut", [judgement(0, 3)])
    return {"cases": cases, "candidates": str(root / "candidates")}, str(root / "judged")


def answer(i, n, text, **fields):
    return Candidate(
        id=f"c{i}/{n}", case_id=f"c{i}", messages=(assistant(text),), policy="p@1", seed=0,
        sampling=Sampling(max_new_tokens=8), **fields,
    )  # fmt: skip


def judgement(i, n, **fields):
    state = fields or {"valid": False, "invalid_reason": "no claim parsed"}
    return Judgement(
        id=f"c{i}/{n}/x", case_id=f"c{i}", candidate_ids=(f"c{i}/{n}",), criterion="expert", judge="e@1", **state
    )


@pytest.fixture
def config(tiny_folder, pairs, judged, tmp_path):
    answers, judgements = judged
    return {
        "model": tiny_folder, "data": pairs, "out": str(tmp_path / "run"), "device": "cpu", "answers": answers,
        "attributes": {
            "correct": {"judgements": judgements, "component": "correct"},
            "wrong": {"judgements": judgements, "component": "wrong", "lower_is_better": True},
            "words": {"words": True},
        },
        "verbosity": "words", "verbosity_bound": 0.2, "gate": {"epochs": 3, "width": 8, "temperature": 1.0},
    }  # fmt: skip


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def test_a_run_scores_pairs_by_objectives_and_weights_and_is_not_repeated(config, make_pairs, tmp_path):
    settings = MixtureConfig(**config, eval_data=make_pairs(n=6, first=20, split="test"))
    run = train_mixture(settings)
    summary = summary_of(run)
    assert summary["attributes"]["correct"]["labelled"] == 33 and summary["attributes"]["correct"]["missing"] == 3
    assert summary["attributes"]["words"]["missing"] == 0 and summary["cut"] == 1
    assert all(abs(found["after"]) <= 0.2 for found in summary["verbosity"].values())
    assert summary["not_decorrelated"] == [] and summary["evaluation"]["eval_pairs"] == 6
    written = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert train_mixture(settings) == run
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == written

    weights, metrics = ((run / name).read_bytes() for name in ("model/mixture.safetensors", "metrics.jsonl"))
    (run / "summary.json").unlink()  # as after a kill before the end
    train_mixture(settings)
    assert (run / "model/mixture.safetensors").read_bytes() == weights
    assert (run / "metrics.jsonl").read_bytes() == metrics

    reward = load_reward("mixture", run=run, device="cpu")
    score_pairs(reward, config["data"], tmp_path / "scored")
    for found in RecordFolder(tmp_path / "scored", Judgement):
        parts = found.components
        total = sum(parts[name] * parts[f"gate/{name}"] for name in ("correct", "wrong"))
        assert found.valid and found.score == pytest.approx(total, abs=1e-5) and "verbosity" in parts


def test_a_killed_run_goes_on_with_the_states_it_has(config, tmp_path, monkeypatch):
    whole = train_mixture(MixtureConfig(**{**config, "out": str(tmp_path / "whole")}))
    encode, calls = AnswerEncoder.encode, []

    def killed_at_the_second_batch(self, *given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(self, *given)

    monkeypatch.setattr(AnswerEncoder, "encode", killed_at_the_second_batch)
    with pytest.raises(KeyboardInterrupt):
        train_mixture(MixtureConfig(**config))
    (kept,) = (tmp_path / ".run.states").iterdir()
    batches = list(calls)
    run = train_mixture(MixtureConfig(**config))
    assert batches[0][1] not in [given[1] for given in calls[2:]]  # its answers are not computed again
    assert batches[1][1] == calls[2][1]  # those of the batch that was lost are
    for name in ("model/mixture.safetensors", "metrics.jsonl", "summary.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert not kept.exists() and not (tmp_path / ".run.states").exists()


def test_a_damaged_file_of_states_is_computed_again(config, tmp_path, judged):
    folder = RecordFolder(judged[0]["cases"], Case)
    case = next(iter(folder))
    given = [case], [answer(0, 0, "A leukocyte is present.")], [[folder.image(case.images[0])]]
    encoder = AnswerEncoder(config["model"])
    first = KeptStates(encoder, tmp_path / "kept", "m").encode(*given)
    (file,) = (tmp_path / "kept").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    again = KeptStates(encoder, tmp_path / "kept", "m").encode(*given)
    assert torch.equal(first.answers, again.answers) and file.read_bytes() == whole
    blank = [case], given[1], [[Image.new("RGB", (32, 32))]]
    KeptStates(encoder, tmp_path / "kept", "another model").encode(*blank)
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_the_gate_sees_the_prompt_and_the_heads_the_answer(config, judged):
    reward = load_reward("mixture", run=train_mixture(MixtureConfig(**config)), device="cpu")
    folder = RecordFolder(judged[0]["cases"], Case)
    case = next(iter(folder))
    answers = [answer(0, n, text) for n, text in enumerate(TEXTS)]
    picture = folder.image(case.images[0])
    output = reward.score([case] * 3, answers, [[picture]] * 3)
    weights = output.components["gate/correct"]
    assert weights == pytest.approx([weights[0]] * 3) and len({round(m, 5) for m in output.mean}) == 3
    other = reward.score([case], answers[:1], [[Image.new("RGB", (32, 32), "black")]])
    assert abs(other.components["gate/correct"][0] - weights[0]) > 1e-6
    blank = load_reward("mixture", run=config["out"], blank_images=True, device="cpu")
    seen = [blank.score([case], answers[:1], [[image]]).mean[0] for image in (picture, Image.new("RGB", (32, 32)))]
    assert seen[0] == pytest.approx(seen[1]) and blank.name == reward.name + "-blank"
    with pytest.raises(ValueError, match="looks at the images"):
        reward.score([case], answers[:1])


def test_heads_learn_what_an_answer_says(config):
    plain = {k: v for k, v in config.items() if not k.startswith("verbosity")}
    plain["attributes"] = {name: v for name, v in config["attributes"].items() if name != "words"}
    errors = summary_of(train_mixture(MixtureConfig(**plain)))["attributes"]
    assert errors["correct"]["validation_error"] < 0.1 and errors["wrong"]["validation_error"] < 0.1


def test_a_scalar_reward_model_is_a_backbone_too(config, tiny_folder, tmp_path):
    RewardModel(load_vlm(tiny_folder)).save(tmp_path / "reward" / "model")
    run = train_mixture(MixtureConfig(**{**config, "model": str(tmp_path / "reward" / "model")}))
    assert load_reward("mixture", run=run, device="cpu").encoder.width == 32
    with pytest.raises(ValueError, match="hash"):  # the same weights, but in the model of another run
        other = load_vlm(tiny_folder)
        other.model.model.language_model.norm.weight.data += 1
        RewardModel(other).save(tmp_path / "other")
        load_reward("mixture", run=run, model=tmp_path / "other", device="cpu")


def test_tasks_have_gates_of_their_own_and_a_prompt_without_task_is_invalid(config, judged):
    tasks = {"name": "question", "patterns": {"report": "describe"}}
    run = train_mixture(MixtureConfig(**config, tasks=tasks))
    assert summary_of(run)["tasks"] == {"report": 8}
    reward = load_reward("mixture", run=run, device="cpu")
    folder = RecordFolder(judged[0]["cases"], Case)
    case = next(iter(folder))
    candidate = answer(0, 0, "Five.", extra={"first_question": "How many?"})
    output = reward.score([case], [candidate], [[folder.image(case.images[0])]])
    assert output.reasons == ("no task fits the prompt's question",) and math.isnan(output.mean[0])


def test_bad_data_is_refused_with_what_is_wrong(config, judged, make_pairs, tmp_path):
    def fails(error, match, **changes):
        with pytest.raises(error, match=match):
            train_mixture(MixtureConfig(**{**config, **changes}))
        assert not (tmp_path / "run").exists()

    judgements = config["attributes"]["correct"]["judgements"]

    def attribute(**fields):
        return {**config["attributes"], "correct": {"judgements": judgements, **fields}}

    fails(DataError, r"no judgement has a valid rigth. Name a component that they have \(correct, wrong\)",
          attributes=attribute(component="rigth"))  # fmt: skip
    fails(DataError, "criterion 'other' is of none", attributes=attribute(criterion="other"))
    fails(DataError, "attribute 'correct' is 1 of", attributes=attribute())  # all scores are 1
    fails(
        DataError,
        "no factor brings the rank correlation",
        verbosity_bound=1e-6,
        verbosity_step=0.7,
        verbosity_most=0.7,
    )
    fails(DataError, "no pattern of tasks fits", tasks={"name": "question", "patterns": {"count": "how many"}})
    two = {"report": "describe", "count": "how many"}
    fails(DataError, "task 'count' has no pair", tasks={"name": "question", "patterns": two})
    fails(DataError, "all of domain 'peripheral_smear'", tasks="domain")
    fails(DataError, "split 'test'", data=make_pairs(n=2, first=40, split="test"))
    fails(DataError, "in training and in evaluation", eval_data=config["data"])


def test_a_bound_that_is_not_reached_is_written_down_where_that_was_chosen(config):
    changes = {"verbosity_bound": 1e-6, "verbosity_step": 0.7, "verbosity_most": 0.7, "verbosity_unmet": "record"}
    run = train_mixture(MixtureConfig(**{**config, **changes}))
    failed = summary_of(run)["not_decorrelated"]
    assert failed == json.loads((run / "model" / "mixture.json").read_text())["report"]["not_decorrelated"] != []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verbosity": "length"}, "verbosity is 'length', expected one of the attributes correct, wrong, words"),
        ({"verbosity": None}, "verbosity_bound is set and verbosity is not"),
        ({"verbosity_step": 2.0}, "lower the step"),
        ({"penalties": [1.0, 0.5]}, "numbers above 0 that ascend"),
        ({"attributes": {"a": {"words": True}, "b": {}}}, "set exactly one of them"),
        ({"attributes": {"a": {"words": True}, "task": {"words": True}}}, "'task' is used for another part"),
        ({"tasks": {"name": "question", "patterns": {"a": "("}}}, "the pattern of task 'a'"),
        ({"tasks": "domains"}, "Did you mean 'domain'"),
        ({"lora": {"rank": 2}}, "unknown key 'lora'"),
        ({"gate": {"widht": 3}}, "Did you mean 'width'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(config, changes, message):
    with pytest.raises(SettingsError, match=message):
        make_config(MixtureConfig, {**config, **changes})
