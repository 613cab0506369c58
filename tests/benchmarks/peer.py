"""One optimiser step of TRL's DPOTrainer, from pictures and texts on."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.setting import BETA, Pair
from benchmarks.step import Step
from datasets import Dataset
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from vlmalign.models import VLM


class PeerStep(Step):
    """TRL's collator, loss and optimiser on the pairs of each prompt's ranked answers.

    Args:
        vlm: with adapters, as `setting.adapt` makes them; the reference is the model without them.
        answers: how many of each prompt's answers are used; of K, all K (K - 1) / 2 pairs are rows.
    """

    def __init__(self, vlm: VLM, answers: int = 2) -> None:
        self.ranks = list(itertools.combinations(range(answers), 2))
        folder = tempfile.mkdtemp()
        config = DPOConfig(
            output_dir=folder, beta=BETA, use_cpu=True, report_to=[], bf16=False, gradient_checkpointing=False,
            max_length=None, learning_rate=1e-5, dataloader_num_workers=0,
        )  # fmt: skip
        peft_model = vlm.model
        settings = peft_model.peft_config["default"]
        rows = Dataset.from_list([_placeholder()])
        self.trainer: Any = DPOTrainer(
            model=peft_model.unload(), args=config, train_dataset=rows, processing_class=vlm.processor,
            peft_config=settings,
        )  # fmt: skip
        super().__init__(self.trainer.model)

    def loss(self, pairs: Sequence[Pair]) -> Tensor:
        """Mean DPO loss over all pairs."""
        rows = [pair.row(a, b) for pair in pairs for a, b in self.ranks]
        inputs = self.trainer.data_collator(rows)
        return self.trainer.compute_loss(self.model, inputs)


def _placeholder() -> dict[str, Any]:
    """A row that tells the trainer that there are pictures; the benchmark brings its own batches."""
    from PIL import Image

    return Pair(Image.new("RGB", (28, 28)), ("a", "b")).row()
