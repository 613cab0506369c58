"""What the offline stages add to `transformers.Trainer`.

A stage says what its loss is (`batch_loss`) and what it is a mean of (`count_items`). The rest is here:
the order of the data, losses that are exact under gradient accumulation, health signals, floating point
operations, checkpoints that are whole or absent, exact resume, and the run folder's files.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import SaveStrategy

from vlmalign.models import FeatureCache
from vlmalign.models.forward import forward_mode
from vlmalign.models.sharding import layer_classes, size_of, spread_again, whole_tensors
from vlmalign.records.progress import is_interactive
from vlmalign.training import checkpoints
from vlmalign.training.arguments import training_arguments
from vlmalign.training.callbacks import EpochCallback, LastStepCallback, ProgressBar
from vlmalign.training.config import StageConfig
from vlmalign.training.naming import naming_records
from vlmalign.training.runs import RunFolder
from vlmalign.training.shares import FILLER, FilledOrder, MarkedItems, collate_real
from vlmalign.training.signals import Signals, finite

Batch = Mapping[str, Any]


class BatchLoss(NamedTuple):
    """What a stage computes for one batch.

    Attributes:
        total: loss summed over the batch's items, scalar.
        signals: name -> (sum, count) of what is logged as a mean.
    """

    total: Tensor
    signals: Mapping[str, tuple[Tensor, Any]]


class StageTrainer(Trainer):
    """A stage's training loop.

    Args:
        run: the run folder.
        model: what is trained.
        steps: optimiser steps in all.
        dataset: of examples.
        order: a sampler with `set_epoch`.
        collator: list of dataset items -> batch.
        cost: floating point operations of training on a batch.
        eval_dataset: examples to report the loss on.
        features: where features of images come from, if not from the model's own vision tower.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        run: RunFolder,
        model: nn.Module,
        *,
        steps: int,
        dataset: Dataset[Any],
        order: Any,
        collator: Callable[[list[Any]], Any],
        cost: Callable[[Batch], float],
        eval_dataset: Dataset[Any] | None = None,
        features: FeatureCache | None = None,
    ) -> None:
        self.run = run
        self.features = features
        self.order = order
        self.cost = cost
        self._signals = Signals()
        self._evaluated: tuple[int, dict[str, float]] = (-1, {})
        self._config = getattr(model, "config", None)
        self._use_cache = getattr(self._config, "use_cache", None)
        config = run.config
        assert isinstance(config, StageConfig)
        self.stage_config = config
        super().__init__(
            model,
            training_arguments(config, run.path, steps),
            data_collator=partial(collate_real, collator=collator),
            train_dataset=MarkedItems(dataset),
            eval_dataset=None if eval_dataset is None else MarkedItems(eval_dataset),
            callbacks=[
                EpochCallback(order, len(order), config),
                LastStepCallback(),
                *([ProgressBar()] if is_interactive() else []),
            ],
        )
        self.remove_callback(PrinterCallback)
        if self.is_fsdp_enabled:
            plugin = self.accelerator.state.fsdp_plugin
            plugin.transformer_cls_names_to_wrap = plugin.transformer_cls_names_to_wrap or layer_classes(model)
        if self.is_deepspeed_enabled:
            self.args.save_strategy = SaveStrategy.NO  # see `start_processes`

    # -- what a stage defines ---------------------------------------------------------------------

    def count_items(self, batch: Batch) -> Tensor | int:
        """How many items the batch's loss is a mean of."""
        raise NotImplementedError

    def batch_loss(self, model: nn.Module, batch: Batch) -> BatchLoss:
        """The batch's loss and health signals."""
        raise NotImplementedError

    # -- running ------------------------------------------------------------------------------------

    def fit(self, save: Callable[[Path], None], summary: Mapping[str, Any]) -> Path:
        """Train (or continue), evaluate, save the model, and complete the run folder.

        Args:
            save: writes the model into a folder.
            summary: what the stage adds to summary.json.

        Returns:
            The run folder's path.
        """
        start = time.perf_counter()
        newest = next(iter(checkpoints.complete_checkpoints(self.run.checkpoints)), None)
        resumed = checkpoints.step_of(newest) if newest else 0
        trained = resumed >= self.args.max_steps  # killed between the last step and the model's saving
        if self.is_world_process_zero():
            self.run.forget_after(resumed, evaluated_again=trained)
        if newest and trained:
            self._load_from_checkpoint(str(newest))
            self.state = TrainerState.load_from_json(str(newest / TRAINER_STATE_NAME))
        else:
            self.train(resume_from_checkpoint=str(newest) if newest else None)
        final: dict[str, float] = {}
        if self.eval_dataset is not None:
            step, logs = self._evaluated
            final = logs if step == self.state.global_step else self.evaluate()
        self._restore_use_cache()
        model: Any = self.model
        model.eval()
        spread_again(model)
        self.run.save_model(save)
        self._save_adapter()
        if self.is_world_process_zero():
            self.run.finish(self._summary(summary, final, resumed, time.perf_counter() - start))
        self.accelerator.wait_for_everyone()
        return self.run.path

    def _save_adapter(self) -> None:
        """A LoRA run's adapter alone: small, and tied to the base model that it names."""
        adapted = self.accelerator.unwrap_model(self.model)
        if hasattr(adapted, "peft_config"):
            state = whole_tensors(checkpoints.trained_parameters(adapted).items())
            if self.is_world_process_zero():
                adapted.save_pretrained(self.run.adapter, state_dict=state)

    def _summary(
        self, extra: Mapping[str, Any], final: Mapping[str, float], resumed: int, seconds: float
    ) -> dict[str, Any]:
        flops = {"training": self.state.total_flos, **extra.get("flops", {})}
        model = self.accelerator.unwrap_model(self.model)
        trained = checkpoints.trained_parameters(model)
        last = next((entry for entry in reversed(self.state.log_history) if "loss" in entry), {})
        return {
            **extra,
            "steps": self.state.global_step,
            "epochs": self.state.epoch,
            "examples": len(self.order),
            "forward_mode": forward_mode(getattr(model, "backbone", model)),
            "trained_parameters": sum(map(size_of, trained.values())),
            "flops": {**flops, "total": sum(flops.values())},
            "last": finite(last),
            "evaluation": finite(final),
            "resumed_from_step": resumed,
            "seconds_of_this_session": round(seconds, 2),
        }

    def _restore_use_cache(self) -> None:
        """Undo what the library's trainer writes into the model's configuration, which is saved."""
        if self._config is None:
            return
        if self._use_cache is None:
            vars(self._config).pop("use_cache", None)
        else:
            self._config.use_cache = self._use_cache

    # -- data -----------------------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self._filled(self.order)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        return self._filled(range(len(eval_dataset)))

    def _filled(self, order: Any) -> FilledOrder:
        return FilledOrder(order, self.stage_config.batch_size * self.accelerator.num_processes)

    def _items_of(self, batch: Batch) -> Tensor | int:
        return 0 if batch[FILLER] else self.count_items(batch)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor]:
        """The batches of one optimiser step, and how many items they have in all, over processes."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        items = torch.as_tensor(sum(self._items_of(batch) for batch in samples), device=device)
        return samples, self.accelerator.gather(items).sum()

    # -- loss -----------------------------------------------------------------------------------------

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The batch's share of the optimiser step's mean loss."""
        assert num_items_in_batch is not None
        with naming_records(inputs["ids"]):
            result = self._real_loss(model, inputs)
        loss = result.total / num_items_in_batch * self.accelerator.num_processes
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"step {self.state.global_step + 1}: the loss is {loss.item()} on the records "
                f"{list(inputs['ids'])[:8]}. Lower learning_rate, or check these records."
            )
        self._signals.add(result.signals)
        return loss

    def _real_loss(self, model: nn.Module, batch: Batch) -> BatchLoss:
        """A filler's loss and signals are zero; they are all there, as processes reduce them in step."""
        result = self.batch_loss(model, batch)
        if not batch[FILLER]:
            return result
        return BatchLoss(
            result.total * 0, {name: (total * 0, count * 0) for name, (total, count) in result.signals.items()}
        )

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean loss and signals on the evaluation data."""
        training, self._signals = self._signals, Signals()
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        totals: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.args.device))
        with torch.no_grad():
            for batch in self.get_eval_dataloader(eval_dataset):
                with self.compute_loss_context_manager(), naming_records(batch["ids"]):
                    result = self._real_loss(model, batch)
                self._signals.add(result.signals)
                totals["loss"] += result.total
                totals["items"] += self._items_of(batch)
        model.train(was_training)
        total, items = self.accelerator.reduce(torch.stack([totals["loss"], totals["items"]])).tolist()
        means = {"loss": total / items, **self._signals.read(self.accelerator)}
        self._signals = training
        logs = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        self.log(dict(logs))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, logs)
        self._evaluated = (self.state.global_step, logs)
        return logs

    # -- bookkeeping ----------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the health signals, and write a line of metrics.jsonl."""
        if "loss" in logs:
            logs.update(self._signals.read(self.accelerator))
        if "train_runtime" in logs:
            return  # the library's closing statistics; summary.json has ours
        super().log(logs, start_time)
        if self.is_world_process_zero():
            self.run.log({"step": self.state.global_step, **finite(logs)})

    def floating_point_ops(self, inputs: Batch) -> float:  # type: ignore[override]
        """Counted into `state.total_flos`, which checkpoints keep."""
        return self.cost(inputs)

    # -- checkpoints ------------------------------------------------------------------------------------

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.run.checkpoints / checkpoints.PARTIAL)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.is_world_process_zero():
            shutil.rmtree(self.run.checkpoints / checkpoints.PARTIAL, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            keep = self.stage_config.keep_checkpoints
            checkpoints.place_checkpoint(self.run.checkpoints, self.state.global_step, keep)
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save a checkpoint's trained parameters, sharded or not.

        The library would also write the frozen ones, pickle its arguments, and rename parameters to their names on
        the Hub, which its own resume then does not find.
        """
        assert output_dir is not None
        checkpoints.save_trained(self.accelerator.unwrap_model(self.model), Path(output_dir))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_fsdp_enabled:
            assert self.optimizer is not None
            checkpoints.save_optimizer(self.optimizer, self.lr_scheduler, Path(output_dir))
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.is_fsdp_enabled and checkpoint is not None:
            assert self.optimizer is not None
            checkpoints.load_optimizer(self.optimizer, self.lr_scheduler, Path(checkpoint))
        else:
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        checkpoints.load_trained(self.accelerator.unwrap_model(self.model), Path(resume_from_checkpoint))
