"""A stage's settings in the words of `transformers.TrainingArguments`."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import TrainingArguments

from vlmalign.training.config import StageConfig
from vlmalign.training.processes import uses_cpu
from vlmalign.training.schedule import checkpoint_interval

_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def training_arguments(config: StageConfig, folder: Path, steps: int) -> TrainingArguments:
    """Arguments for the library's trainer.

    Args:
        config: of the stage.
        folder: of the run; TensorBoard's logs go to `runs` inside.
        steps: optimiser steps in all.
    """
    interval = checkpoint_interval(config, steps)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULES[config.lr_schedule],
        warmup_steps=int(-(-steps * config.warmup // 1)),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=config.dtype == "mixed",
        logging_steps=config.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if config.eval_steps else "no",
        eval_steps=config.eval_steps,
        save_strategy="steps" if interval else "no",  # "steps" saves the last one too
        save_steps=interval or steps,
        seed=config.seed,
        use_cpu=uses_cpu(config),
        report_to=list(config.report_to),
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=config.device != "cpu" and torch.cuda.is_available(),
        # Of the weights some have no gradient: LLaVA's last vision layer, and a vision tower whose process got
        # a batch of text. Adapters are all used in every batch.
        ddp_find_unused_parameters=config.lora is None,
        ddp_broadcast_buffers=False,  # they are constants here
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one process drives one device: more of them need `accelerate launch`
    return arguments
