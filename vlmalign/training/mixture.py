"""A gated mixture of objectives on a frozen model: heads from judged answers, gates from pairs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor

from vlmalign.models.loading import model_folder
from vlmalign.models.mixture_head import MixtureHead, backbone_digest
from vlmalign.models.task_router import TaskRouter
from vlmalign.records import DataError, read_manifest
from vlmalign.records.hashing import config_hash
from vlmalign.records.leakage import check_no_leakage
from vlmalign.rewards.answer_encoder import AnswerEncoder
from vlmalign.training.answer_data import AnswerSet, PairSet, read_answers, read_pairs
from vlmalign.training.attribute_labels import attribute_labels
from vlmalign.training.decorrelation import Decorrelation, decorrelate
from vlmalign.training.gate import PairStates, pair_figures, train_gates
from vlmalign.training.kept_states import KeptStates
from vlmalign.training.mixture_config import AnswerFolders, DomainTasks, MixtureConfig, QuestionTasks
from vlmalign.training.policy import stage_device
from vlmalign.training.ridge_heads import RidgeHead, fit_ridge_head, split_by_group
from vlmalign.training.runs import RunFolder, model_hash
from vlmalign.training.task_classifier import fit_domain_router


def train_mixture(config: MixtureConfig, *, overwrite: bool = False) -> Path:
    """Train a mixture in two stages (ArmoRM, Wang et al. 2024, arXiv:2406.12845, section 3); see `MixtureHead`.

    A complete run is left as it is. Of a stopped one the states are kept that it has computed, beside its folder
    in `.NAME.states` until the run ends or its data are refused: what takes time is one pass of the frozen model
    over the answers. Heads and gates start again, and end with the same bits.

    Args:
        config: settings; `model` is a language model or a scalar reward model, which stays as it is.
        overwrite: replace an earlier run in the folder, once the new one's model and data have loaded.

    Returns:
        The run folder; `MixtureReward` reads it.

    Raises:
        DataError: a folder or record that cannot be used, attributes that cannot be learnt, verbosity that cannot
            be taken out, or a pair whose task is not known.
        FileExistsError: the folder holds another run and `overwrite` is not set.
        ValueError: several processes.
    """
    # 1. The run folder: a complete run is not repeated.
    check_no_leakage(
        [config.answers.cases], [s.path for s in config.eval_data], max_bits=config.near_duplicate_bits
    )
    run = RunFolder("mixture", config, overwrite=overwrite, identity={"answers": _hashes(config)})
    if PartialState().num_processes > 1:
        raise ValueError("several processes were launched and a mixture needs one: launch it without torchrun.")
    if run.finished:
        return run.path

    # 2. The frozen model's states of all answers: judged ones, reference ones, pairs.
    encoder = AnswerEncoder(
        model_folder(config.model), dtype=config.dtype, device=str(stage_device(config)),
        batch_size=config.encode_batch_size,
    )  # fmt: skip
    digest = backbone_digest(encoder.backbone)
    how = [config.dtype, config.encode_batch_size, encoder.device, torch.__version__]
    computed = config_hash([digest, model_hash(config.model), *how])  # the processor's settings are in the second
    kept = KeptStates(encoder, run.path.with_name(f".{run.path.name}.states"), computed)
    try:
        done = _train(config, run, encoder, kept, digest)
    except (DataError, ValueError):
        kept.forget()
        raise
    kept.forget()
    return done


def _train(config: MixtureConfig, run: RunFolder, encoder: AnswerEncoder, kept: KeptStates, digest: str) -> Path:
    """The stage from the states on."""
    answers = read_answers(kept, config.answers)
    labels = attribute_labels(config.attributes, answers.candidates, cut=answers.cut)
    reference = answers if config.reference is None else read_answers(kept, config.reference)
    pairs = read_pairs(kept, config.data, "training")
    held_out = read_pairs(kept, config.eval_data, "evaluation") if config.eval_data else None

    # 3. One ridge head per attribute, and which task a prompt belongs to.
    heads = _fit_heads(config, answers, labels)
    router, router_figures = _router(config, answers)
    mixture = MixtureHead(
        encoder.width, config.objectives, verbosity=config.verbosity is not None, router=router,
        gate_width=config.gate.width, gate_layers=config.gate.layers, dropout=config.gate.dropout,
        temperature=config.gate.temperature, seed=config.seed,
    )  # fmt: skip
    _set_heads(mixture, heads, config.verbosity)

    # 4. Verbosity taken out of every objective.
    removed = _decorrelate(config, mixture, reference) if config.verbosity is not None else {}
    mixture.decorrelation.copy_(torch.tensor([removed[n].factor if removed else 0.0 for n in mixture.objectives]))

    # 5. Gates.
    states = _pair_states(mixture, pairs)
    held_states = None if held_out is None else _pair_states(mixture, held_out)
    run.begin()
    run.forget_after(0)
    last: dict[str, Any] = {}
    for last in train_gates(mixture, states, config.gate, config.seed):
        run.log(last)

    # 6. Save, close the run.
    report = {
        "attributes": {name: _head_report(head, len(labels)) for name, head in heads.items()},
        "verbosity": {name: found._asdict() for name, found in removed.items()},
        "not_decorrelated": [name for name, found in removed.items() if not found.reached],
        "tasks": dict(zip(router.tasks, torch.bincount(states.tasks, minlength=len(router.tasks)).tolist(),
                          strict=True)),
        **router_figures,
    }  # fmt: skip
    run.save_model(lambda path: mixture.save(path, backbone=digest, dtype=config.dtype, report=report))
    summary = {"stage": "mixture", "answers": len(labels), "cut": len(answers.cut), **report, "last": last}
    if held_states is not None:
        summary["evaluation"] = pair_figures(mixture, held_states, prefix="eval_")
    return run.finish(summary)


def _hashes(config: MixtureConfig) -> dict[str, str]:
    """SHA-256 of the records of all folders but `data` and `eval_data`, by path."""
    folders = [config.answers, *([] if config.reference is None else [config.reference])]
    paths = [path for each in folders for path in (each.cases, each.candidates)]
    paths += [a.judgements for a in config.attributes.values() if a.judgements is not None]
    return {path: read_manifest(path).records_sha256 for path in paths}


def _fit_heads(config: MixtureConfig, answers: AnswerSet, labels: Any) -> dict[str, RidgeHead]:
    states = answers.states.answers.double().numpy()
    groups = [case.group_id for case in answers.cases]
    try:
        fit, held = split_by_group(groups, config.validation_share, config.seed)
        return {
            name: fit_ridge_head(states, labels[:, k], fit, held, name=name, penalties=config.penalties)
            for k, name in enumerate(config.attributes)
        }
    except ValueError as error:
        raise _data_error(error, config.answers, "attributes") from None


def _set_heads(mixture: MixtureHead, heads: dict[str, RidgeHead], verbosity: str | None) -> None:
    chosen = [heads[name] for name in mixture.objectives]
    mixture.heads.copy_(torch.from_numpy(np.stack([head.weight for head in chosen])))
    mixture.intercepts.copy_(torch.tensor([head.intercept for head in chosen]))
    if verbosity is not None:
        mixture.verbosity_head.copy_(torch.from_numpy(heads[verbosity].weight))
        mixture.verbosity_intercept.fill_(heads[verbosity].intercept)


def _decorrelate(config: MixtureConfig, mixture: MixtureHead, reference: AnswerSet) -> dict[str, Decorrelation]:
    """Factors by objective, from the heads' values of the reference answers."""
    scores = mixture.objectives_of(reference.states.answers).double().numpy()  # no factor is set yet
    verbosity = mixture.verbosity_of(reference.states.answers).double().numpy()
    folders = config.reference or config.answers
    found: dict[str, Decorrelation] = {}
    for k, name in enumerate(mixture.objectives):
        try:
            found[name] = decorrelate(
                scores[:, k], verbosity, bound=config.verbosity_bound, factors=config.verbosity_factors
            )
        except ValueError as error:
            raise _data_error(error, folders, f"attributes.{name}") from None
        if not found[name].reached and config.verbosity_unmet == "error":
            raise DataError(
                f"no factor brings the rank correlation of {name!r} with verbosity to {config.verbosity_bound} or "
                f"less: it is {found[name].before:.3f} before and {found[name].after:.3f} at best",
                "Raise verbosity_bound, lower verbosity_step, drop the attribute or set verbosity_unmet: record.",
                file=folders.candidates,
                field=f"attributes.{name}",
            )
    return found


def _router(config: MixtureConfig, answers: AnswerSet) -> tuple[TaskRouter, dict[str, Any]]:
    if isinstance(config.tasks, QuestionTasks):
        return config.tasks.router(), {}
    if isinstance(config.tasks, DomainTasks):
        try:
            return fit_domain_router(
                answers.states.prompts, answers.cases, share=config.validation_share, seed=config.seed
            )
        except ValueError as error:
            raise _data_error(error, config.answers, "tasks") from None
    return TaskRouter(), {}


def _pair_states(mixture: MixtureHead, pairs: PairSet) -> PairStates:
    m = len(pairs.names)
    tasks = mixture.router.route(pairs.states.prompts[:m], pairs.states.questions[:m])
    for (folder, record), task, question in zip(pairs.names, tasks, pairs.states.questions, strict=False):
        if task is None:
            raise DataError(
                f"no pattern of tasks fits the question {question!r}",
                "Add a pattern, or name a task for all others with tasks.otherwise.",
                file=folder,
                record=record,
                field="prompt",
            )
    chosen: Tensor = pairs.states.answers[:m]
    return PairStates(
        chosen, pairs.states.answers[m:], pairs.states.prompts[:m], _task_tensor(mixture, tasks, pairs),
        torch.tensor(pairs.weights),
    )  # fmt: skip


def _task_tensor(mixture: MixtureHead, tasks: Iterable[int | None], pairs: PairSet) -> Tensor:
    found = torch.tensor([-1 if task is None else task for task in tasks])
    for number, name in enumerate(mixture.router.tasks):
        if not (found == number).any():
            raise DataError(
                f"task {name!r} has no pair, so its gate would stay as it began",
                "Give pairs of it, or drop the task.",
                file=pairs.names[0][0],
                field="tasks",
            )
    return found


def _head_report(head: RidgeHead, answers: int) -> dict[str, float]:
    kept = {k: v for k, v in head._asdict().items() if k not in ("weight", "intercept")}
    return {**kept, "missing": answers - head.labelled}


def _data_error(error: ValueError, folders: AnswerFolders, field: str) -> DataError:
    problem, _, remedy = str(error).rpartition(": ")
    return DataError(problem, remedy[:1].upper() + remedy[1:], file=folders.candidates, field=field)
