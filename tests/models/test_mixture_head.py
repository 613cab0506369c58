import pytest
import torch
from torch import testing

from vlmalign.models import PromptBatch
from vlmalign.models.answer_states import answer_states
from vlmalign.models.loading import backbone_of
from vlmalign.models.mixture_head import MixtureHead, backbone_digest
from vlmalign.models.task_router import TaskRouter
from vlmalign.models.tiny import build_tiny_llava

SMALL = {"image_size": 24, "hidden": 16, "layers": 1, "vision_hidden": 16, "vision_layers": 1, "heads": 2}


@pytest.fixture
def backbone():
    return backbone_of(build_tiny_llava(["a b"], **SMALL).model)


def mixture(**settings):
    made = MixtureHead(2, ["right", "whole"], verbosity=True, gate_layers=0, **settings)
    made.heads.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    made.intercepts.copy_(torch.tensor([0.5, 0.0]))
    made.verbosity_head.copy_(torch.tensor([1.0, 1.0]))
    made.decorrelation.copy_(torch.tensor([0.5, -1.0]))
    return made.eval()


def test_a_score_is_the_weighted_sum_of_objectives_less_verbosity():
    made = mixture(temperature=2.0)
    gate = made.gates[0][0]
    gate.weight.data.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    made.log_scales.data.fill_(torch.log(torch.tensor(3.0)))
    answer, prompt = torch.tensor([[3.0, 1.0]]), torch.tensor([[torch.log(torch.tensor(3.0)), 0.0]])
    found = made(answer, prompt, torch.tensor([0]))
    # r = (3.5, 2), r_verb = 4: r' = (3.5 - 2, 2 + 4); softmax((0, 2 log 3) / 2) = (1/4, 3/4), times 3
    testing.assert_close(found.objectives, torch.tensor([[1.5, 6.0]]))
    testing.assert_close(found.weights, torch.tensor([[0.75, 2.25]]))
    testing.assert_close(found.rewards, torch.tensor([0.75 * 1.5 + 2.25 * 6.0]))


def test_each_task_has_a_gate_of_its_own():
    made = mixture(router=TaskRouter(["a", "b"], by="question", patterns={"a": "^count", "b": "describe"}))
    made.gates[1][0].bias.data.copy_(torch.tensor([100.0, -100.0]))
    tasks = made.router.route(torch.zeros(3, 2), ["Describe the field.", "COUNT them.", "Why?"])
    assert tasks == [1, 0, None]
    weights = made.gate(torch.zeros(2, 2), torch.tensor(tasks[:2]))
    testing.assert_close(weights, torch.tensor([[1.0, 0.0], [0.5, 0.5]]), atol=1e-6, rtol=0)


def test_a_learned_router_takes_the_largest_score_and_is_saved_with_the_mixture(tmp_path, backbone):
    router = TaskRouter(["a", "b"], by="learned", width=16)
    router.weight[1, 3] = 2.0
    router.bias[0] = 1.0
    made = MixtureHead(16, ["right", "whole"], router=router, gate_width=4, gate_layers=1, seed=3)
    made.save(tmp_path, backbone=backbone_digest(backbone), dtype="float32", report={})
    read = MixtureHead.load(tmp_path, backbone=backbone)
    states = torch.zeros(2, 16)
    states[1, 3] = 1.0
    assert read.router.route(states, ["", ""]) == [0, 1]
    for name, value in made.state_dict().items():
        testing.assert_close(read.state_dict()[name], value)


def test_a_mixture_of_another_backbone_is_refused(tmp_path, backbone):
    made = MixtureHead(16, ["right", "whole"])
    made.save(tmp_path, backbone=backbone_digest(backbone), dtype="float32", report={})
    other = backbone_of(build_tiny_llava(["a b"], **SMALL, seed=1).model)
    with pytest.raises(ValueError, match="was trained on a backbone with hash"):
        MixtureHead.load(tmp_path, backbone=other)
    wide = backbone_of(build_tiny_llava(["a b"], **{**SMALL, "hidden": 32}).model)
    with pytest.raises(ValueError, match="reads states of width 16 and the model's are 32 wide"):
        MixtureHead.load(tmp_path, backbone=wide)
    with pytest.raises(ValueError, match="expected a mixture"):
        MixtureHead.load(tmp_path / "nowhere")
    (tmp_path / "mixture.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ValueError, match=r"does not fit mixture\.json"):
        MixtureHead.load(tmp_path)


def test_the_state_of_a_prompt_is_the_same_for_all_answers_and_changes_with_the_image(backbone):
    def states(brightness):
        prompts = {
            "input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
            "pixel_values": torch.full((1, 3, 24, 24), brightness),
        }  # fmt: skip
        ids = torch.tensor([[40, 41], [42, 0]])
        return answer_states(backbone, PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 0])))

    dark, bright = states(-1.0), states(1.0)
    testing.assert_close(dark.prompts[0], dark.prompts[1])
    assert not torch.allclose(dark.answers[0], dark.answers[1], atol=1e-3)
    assert not torch.allclose(dark.prompts, bright.prompts, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "none", "tasks": ["a", "b"]}, "no rule that chooses one"),
        ({"by": "question", "tasks": ["a"], "patterns": {"a": "("}}, "the pattern of task 'a'"),
        ({"by": "question", "tasks": ["a"], "patterns": {"a": "x"}, "otherwise": "b"}, "task 'b' is not one of"),
        ({"by": "learned", "tasks": ["a", "b"]}, "width is 0"),
        ({"by": "question", "tasks": ["a"]}, "patterns has 0 entries"),
    ],
)
def test_tasks_that_cannot_be_told_apart_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TaskRouter(settings.pop("tasks"), **settings)
