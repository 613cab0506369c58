"""What listens to the library's trainer: a progress bar, the order of each epoch, a line for the last step."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback

from vlmalign.training.config import StageConfig
from vlmalign.training.schedule import steps_per_epoch


class ProgressBar(TrainerCallback):
    """One bar on standard error with the latest loss."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Open the bar where the run stands."""
        if state.is_world_process_zero:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", leave=False)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Advance."""
        if state.is_world_process_zero:
            self.bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """Show the loss."""
        if state.is_world_process_zero and "loss" in (logs or {}):
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Close the bar."""
        if state.is_world_process_zero:
            self.bar.close()


class EpochCallback(TrainerCallback):
    """Tells the order which epoch begins; the library's own way does not reach every wrapped sampler."""

    def __init__(self, order: Any, examples: int, config: StageConfig) -> None:
        self.order = order
        self.examples = examples
        self.config = config

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Choose the epoch's order from the steps already taken."""
        per_epoch = steps_per_epoch(
            self.examples, self.config.batch_size, self.config.gradient_accumulation, args.world_size
        )
        self.order.set_epoch(state.global_step // per_epoch)


class LastStepCallback(TrainerCallback):
    """Logs the last step too, wherever it falls between two logged ones: it is how the run ended."""

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Ask for a line."""
        if state.global_step >= state.max_steps:
            control.should_log = True
