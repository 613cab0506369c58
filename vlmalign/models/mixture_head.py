"""A gated mixture of objectives on frozen states: linear heads, less verbosity, weighed by what is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlmalign.models.task_router import TaskRouter
from vlmalign.models.vision_key import tensor_digest

WEIGHTS, CONFIG = "mixture.safetensors", "mixture.json"


class MixtureScores(NamedTuple):
    """What a mixture makes of N answers.

    Attributes:
        rewards: R = sum_k g_k r'_k, (N,).
        objectives: r', (N, K).
        weights: g, (N, K).
    """

    rewards: Tensor
    objectives: Tensor
    weights: Tensor


class MixtureHead(nn.Module):
    """K objectives of an answer, weighed by a gate that sees the prompt alone (ArmoRM, Wang et al. 2024,
    arXiv:2406.12845, section 3).

    r_k = w_k . h(answer) + b_k from the final hidden state h of the answer's last token; r'_k = r_k - lambda_k
    r_verbosity where a verbosity head is given; g = s softmax(MLP(h(prompt)) / temperature) from the state of the
    prompt's last token, which has seen the images; R = sum_k g_k r'_k. Each task has a gate of its own, with a
    learnt scale s > 0. Verbosity itself is no objective. Only gates have parameters; heads are buffers.

    Args:
        width: H, of a hidden state.
        objectives: their names, K.
        verbosity: whether there is a verbosity head.
        router: the tasks, and which of them a prompt belongs to; default one for all.
        gate_width: of a gate's hidden layers.
        gate_layers: how many there are; 0: the gate is linear.
        dropout: behind each of them.
        temperature: of the softmax; the published one is 10.
        seed: of the gates' first weights.

    Raises:
        ValueError: no objective, a name used twice, or a size or temperature out of range.

    Example:
        >>> mixture = MixtureHead(2, ["correct", "complete"], gate_layers=0)
        >>> mixture.heads.copy_(torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
        >>> scores = mixture(torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2), torch.tensor([0]))
        >>> scores.weights.tolist(), scores.rewards.tolist()
        ([[0.5, 0.5]], [2.0])
    """

    heads: Tensor
    intercepts: Tensor
    verbosity_head: Tensor
    verbosity_intercept: Tensor
    decorrelation: Tensor

    def __init__(
        self,
        width: int,
        objectives: Sequence[str],
        *,
        verbosity: bool = False,
        router: TaskRouter | None = None,
        gate_width: int = 256,
        gate_layers: int = 2,
        dropout: float = 0.2,
        temperature: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not objectives or len(set(objectives)) != len(objectives):
            raise ValueError(f"objectives is {list(objectives)}, expected one or more different names: correct.")
        if width < 1 or gate_width < 1 or gate_layers < 0 or not temperature > 0 or not 0 <= dropout < 1:
            raise ValueError(
                f"width is {width}, gate_width {gate_width}, gate_layers {gate_layers}, "
                f"temperature {temperature}, dropout {dropout}: expected at least 1, 1, 0, more than 0, and a "
                "probability below 1."
            )
        self.objectives, self.verbosity, self.temperature = tuple(objectives), verbosity, temperature
        self._shape = {"gate_width": gate_width, "gate_layers": gate_layers, "dropout": dropout}
        k = len(self.objectives)
        self.register_buffer("heads", torch.zeros(k, width))
        self.register_buffer("intercepts", torch.zeros(k))
        self.register_buffer("verbosity_head", torch.zeros(width))
        self.register_buffer("verbosity_intercept", torch.zeros(()))
        self.register_buffer("decorrelation", torch.zeros(k))
        self.router = router or TaskRouter()
        sizes = [width] + [gate_width] * gate_layers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.gates = nn.ModuleList(_gate(sizes, k, dropout) for _ in self.router.tasks)
        self.log_scales = nn.Parameter(torch.zeros(len(self.router.tasks)))

    @property
    def width(self) -> int:
        """H."""
        return self.heads.shape[1]

    def verbosity_of(self, answers: Tensor) -> Tensor:
        """The verbosity head's value of answers with states (N, H); (N,)."""
        return answers.float() @ self.verbosity_head + self.verbosity_intercept

    def objectives_of(self, answers: Tensor) -> Tensor:
        """Values r' of answers with states (N, H); (N, K)."""
        scores = answers.float() @ self.heads.T + self.intercepts
        return scores - self.verbosity_of(answers)[:, None] * self.decorrelation if self.verbosity else scores

    def gate(self, prompts: Tensor, tasks: Tensor) -> Tensor:
        """Weights g of prompts with states (N, H) and tasks (N,) as the router numbers them; (N, K)."""
        weights = torch.zeros(len(prompts), len(self.objectives), device=prompts.device)
        for task, gate in enumerate(self.gates):
            rows = (tasks == task).nonzero()[:, 0]
            if len(rows):
                shares = torch.softmax(gate(prompts[rows].float()) / self.temperature, -1)
                weights = weights.index_copy(0, rows, shares * self.log_scales[task].exp())
        return weights

    def forward(self, answers: Tensor, prompts: Tensor, tasks: Tensor) -> MixtureScores:
        """Scores of N answers.

        Args:
            answers: states of their last tokens, (N, H).
            prompts: states of their prompts' last tokens, (N, H).
            tasks: of their prompts, (N,) integer.
        """
        objectives, weights = self.objectives_of(answers), self.gate(prompts, tasks)
        return MixtureScores((objectives * weights).sum(1), objectives, weights)

    def save(self, path: str | Path, *, backbone: str, dtype: str, report: dict[str, Any]) -> None:
        """Write the mixture into a folder, without the model that the states come from.

        Args:
            path: the folder.
            backbone: `backbone_digest` of that model.
            dtype: that it was computed in.
            report: how the parts were fitted, for the reader.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, path / WEIGHTS)
        config = {
            "kind": "mixture", "width": self.width, "objectives": list(self.objectives),
            "verbosity": self.verbosity, "temperature": self.temperature, **self._shape,
            "router": self.router.settings(), "backbone": backbone, "dtype": dtype, "report": report,
        }  # fmt: skip
        (path / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, *, backbone: nn.Module | None = None) -> MixtureHead:
        """Read a folder written by `save`.

        Args:
            path: the folder.
            backbone: the model that the states will come from; it is compared with that of the training.

        Raises:
            ValueError: no mixture is there, its files do not fit each other, or the backbone is another one.
        """
        path = Path(path)
        config = read_mixture_config(path)
        router = config["router"]
        mixture = cls(
            config["width"], config["objectives"], verbosity=config["verbosity"],
            router=TaskRouter(width=config["width"], **router), temperature=config["temperature"],
            gate_width=config["gate_width"], gate_layers=config["gate_layers"], dropout=config["dropout"],
        )  # fmt: skip
        try:
            mixture.load_state_dict(load_file(path / WEIGHTS))
        except (RuntimeError, SafetensorError) as error:
            why = str(error).splitlines()[-1].strip().rstrip(".")
            raise ValueError(f"{path / WEIGHTS} does not fit {CONFIG} ({why}): restore the folder.") from None
        if backbone is not None:
            _check_backbone(path, config, backbone)
        return mixture.eval()


def read_mixture_config(path: str | Path) -> dict[str, Any]:
    """The settings of a folder written by `MixtureHead.save`.

    Raises:
        ValueError: no mixture is there.
    """
    for name in (CONFIG, WEIGHTS):
        if not (Path(path) / name).is_file():
            raise ValueError(f"{path} has no {name}, expected a mixture: train one, or give its run folder.")
    config = json.loads((Path(path) / CONFIG).read_text(encoding="utf-8"))
    if not isinstance(config, dict) or config.get("kind") != "mixture":
        raise ValueError(f"{Path(path) / CONFIG} describes no mixture: restore the folder.")
    return config


def backbone_digest(backbone: nn.Module) -> str:
    """Hash of the weights of a model without its output layer; where it was loaded from does not matter."""
    return tensor_digest(backbone.state_dict())[:32]


def _check_backbone(path: Path, config: dict[str, Any], backbone: Any) -> None:
    width = backbone.config.get_text_config().hidden_size
    if width != config["width"]:
        raise ValueError(
            f"the mixture in {path} reads states of width {config['width']} and the model's are {width} wide: "
            "give the model that it was trained on."
        )
    found = backbone_digest(backbone)
    if found != config["backbone"]:
        raise ValueError(
            f"the mixture in {path} was trained on a backbone with hash {config['backbone'][:8]}, this one has "
            f"{found[:8]}: give the very model, as its heads say nothing of another's states."
        )


def _gate(sizes: list[int], k: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    last = nn.Linear(sizes[-1], k)
    nn.init.zeros_(last.bias)
    if len(sizes) == 1:
        nn.init.zeros_(last.weight)
    return nn.Sequential(*layers, last)
