"""Settings of the offline stages; every contradiction is refused here, before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from vlmalign.data.datasets import DataSource
from vlmalign.records.suggestions import SettingsError, UnknownKeyError, explain, is_unknown_key, unknown
from vlmalign.training.preference_loss import LOSSES, PreferenceLoss, Sigmoid

Part = Literal["vision", "projector", "language"]
C = TypeVar("C", bound="RunConfig")


class Lora(BaseModel):
    """Low-rank adapters: only they are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(16, ge=1, description="inner width of an adapter")
    alpha: int = Field(32, ge=1, description="an adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="on an adapter's input")
    targets: tuple[str, ...] | None = Field(
        None, description="names of linear layers; default: all of the language model, none of the vision tower"
    )
    quantize: Literal["nf4"] | None = Field(
        None,
        description="keep the language model's weights in four bits while adapters are trained (QLoRA); needs CUDA"
        " and the extra `gpu`. The saved model is what was trained: the rounded weights and the adapters, merged",
    )


class RunConfig(BaseModel):
    """What every run that writes a run folder has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1, description="a folder or Hub id of a model, or a run folder (its `model`)")
    data: tuple[DataSource, ...] = Field(
        min_length=1, description="dataset folders: paths, or mappings with path, repeat, weight"
    )
    eval_data: tuple[DataSource, ...] = Field(
        (), description="folders of the same kind to report the loss on; may share no group and image with data"
    )
    out: str = Field(min_length=1, description="run folder to write")
    seed: int = Field(0, ge=0, description="of data order, dropout and new weights")
    dtype: Literal["float32", "mixed", "bfloat16"] = Field(
        "float32", description="of weights and computation; mixed: float32 weights, bfloat16 computation"
    )
    device: Literal["auto", "cpu"] = Field("auto", description="auto: the accelerator, if there is one")
    near_duplicate_bits: int = Field(
        0, ge=0, le=32, description="images of eval_data this near to one of data are refused; 0: equal files only"
    )

    @field_validator("data", "eval_data", "anchor_data", "own_data", mode="before", check_fields=False)
    @classmethod
    def _paths_are_sources(cls, value: Any) -> Any:
        items = [value] if isinstance(value, (str, Path, Mapping)) else value
        if not isinstance(items, (list, tuple)):
            return value
        return tuple({"path": str(item)} if isinstance(item, (str, Path)) else item for item in items)

    @field_validator("model", "out", "feature_cache", "reference_cache", mode="before", check_fields=False)
    @classmethod
    def _paths_are_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value


class StageConfig(RunConfig):
    """What all offline stages share. The length of training is exactly one of epochs, max_steps, max_flops."""

    epochs: float | None = Field(None, gt=0, description="passes over data")
    max_steps: int | None = Field(None, ge=1, description="optimiser steps")
    max_flops: float | None = Field(
        None, gt=0, description="floating point operations, all passes counted; sets the number of steps"
    )
    batch_size: int = Field(8, ge=1, description="prompts per forward pass and device")
    gradient_accumulation: int = Field(1, ge=1, description="forward passes per optimiser step")

    learning_rate: float = Field(1e-5, gt=0, description="peak learning rate of AdamW")
    lr_schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="after the warm-up")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps with a rising learning rate")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW, on matrices only")
    max_grad_norm: float = Field(1.0, ge=0, description="the gradient is scaled down to this norm; 0: never")

    freeze: tuple[Part, ...] = Field((), description="parts that are not trained")
    lora: Lora | None = Field(None, description="train low-rank adapters instead of the weights")
    gradient_checkpointing: bool = Field(False, description="compute activations twice to save memory")
    feature_cache: str | None = Field(
        None,
        description="folder that keeps what frozen vision and projector make of an image, computed once; several "
        "runs may share it. `vlmalign cache` shows and empties it",
    )
    feature_cache_gb: float = Field(20.0, gt=0, description="its bound; entries used longest ago make room")

    max_length: int | None = Field(
        None, ge=1, description="refuse records longer than this many tokens, image tokens included"
    )
    save_steps: int | None = Field(
        None,
        ge=0,
        description="steps between checkpoints; default: a tenth of the run, at least 50; 0: none. The last step "
        "is always saved, unless 0. DeepSpeed runs have none",
    )
    keep_checkpoints: int = Field(1, ge=1, description="older checkpoints are deleted")
    logging_steps: int = Field(10, ge=1, description="steps between two lines of metrics.jsonl")
    eval_steps: int | None = Field(None, ge=1, description="steps between evaluations; default: at the end only")
    report_to: tuple[Literal["tensorboard", "wandb"], ...] = Field((), description="also log there")

    @property
    def adapts(self) -> bool:
        """Whether only adapters are trained."""
        return self.lora is not None

    @model_validator(mode="after")
    def _no_contradictions(self) -> StageConfig:
        names = [name for name in ("epochs", "max_steps", "max_flops", "part_steps") if hasattr(self, name)]
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of epochs, max_steps and max_flops"
            more = ", or part_steps" if "part_steps" in names and not given else ""
            raise ValueError(f"{found} given: set exactly one of them{more}")
        if self.lora and "language" in self.freeze:
            raise ValueError("lora trains the language model and freeze names it: drop one of the two")
        if self.lora and self.freeze:
            raise ValueError("lora already freezes all weights but its own: drop freeze")
        if len(set(self.freeze)) == 3:
            raise ValueError("freeze names all three parts, so nothing is trained: leave one out")
        if self.feature_cache is not None and not self.adapts and not {"vision", "projector"} <= set(self.freeze):
            raise ValueError(
                "feature_cache is set and vision or projector is trained, so features change with every step: "
                "freeze both, or use lora, or drop feature_cache"
            )
        if self.eval_steps is not None and not self.eval_data:
            raise ValueError("eval_steps is set and eval_data is empty: give eval_data or drop eval_steps")
        return self


class SftConfig(StageConfig):
    """Supervised fine-tuning on demonstrations."""

    part_steps: tuple[PositiveInt, ...] | None = Field(
        None,
        description="a curriculum: so many optimiser steps on each folder of data, one folder after the other; "
        "instead of epochs, max_steps or max_flops",
    )

    @model_validator(mode="after")
    def _parts_are_folders(self) -> SftConfig:
        if self.part_steps is None:
            return self
        if len(self.part_steps) != len(self.data):
            raise ValueError(
                f"part_steps has {len(self.part_steps)} numbers and data {len(self.data)} folders: "
                "give the steps of each folder, in order"
            )
        repeated = next((source.path for source in self.data if source.repeat > 1), None)
        if repeated is not None:
            raise ValueError(
                f"data repeats {repeated} and part_steps says how long each folder is learnt: drop repeat"
            )
        return self


class DpoConfig(StageConfig):
    """Direct preference optimisation; the reference is the policy as the stage began."""

    loss: PreferenceLoss = Field(Sigmoid(), description=f"a name, or name and settings: {', '.join(LOSSES)}")
    group_pairs: bool = Field(
        False,
        description="all pairs of a case are one item and each of its answers is run once; batch_size counts "
        "cases, and the loss is the mean over pairs (of plackett_luce, which needs this: over cases)",
    )
    reference_cache: str | None = Field(
        None,
        description="folder that keeps the reference's log-probabilities of answers, for runs on the same answers "
        "from the same weights; several may share it. `vlmalign cache` shows and empties it",
    )
    sft_weight: float = Field(0.0, ge=0, description="factor of the token loss on the chosen answers")
    anchor_data: tuple[DataSource, ...] = Field(
        (), description="demonstrations mixed in, one per pair, to keep what SFT taught"
    )
    anchor_weight: float = Field(0.0, ge=0, description="factor of their token loss")

    @field_validator("loss", mode="before")
    @classmethod
    def _a_name_is_a_loss(cls, value: Any) -> Any:
        return named_settings(value, "loss", LOSSES, default="sigmoid")

    @model_validator(mode="after")
    def _orpo_has_its_token_loss(self) -> DpoConfig:
        if self.sft_weight and self.loss.name == "orpo":
            raise ValueError(
                f"sft_weight is {self.sft_weight} and orpo holds its token loss already: drop sft_weight"
            )
        return self

    @model_validator(mode="after")
    def _the_loss_gets_what_it_needs(self) -> DpoConfig:
        name = self.loss.name
        if self.loss.listwise and not self.group_pairs:
            raise ValueError(f"loss {name} ranks a case's answers and group_pairs is not set: set group_pairs")
        if self.loss.needs_mismatched and self.group_pairs:
            raise ValueError(
                f"group_pairs is set and loss {name} judges each answer by itself, as good or bad, and not by its "
                "place among those of its case: drop group_pairs, or use another loss"
            )
        if self.loss.needs_mismatched and self.batch_size < 2:
            raise ValueError(
                f"batch_size is {self.batch_size} and loss {name} takes the mean over a batch as its reference "
                "point: raise batch_size to 2 or more"
            )
        if self.reference_cache is not None and not self.loss.needs_reference:
            raise ValueError(f"reference_cache is set and loss {name} has no reference: drop reference_cache")
        return self

    @model_validator(mode="after")
    def _anchor_is_whole(self) -> DpoConfig:
        if bool(self.anchor_data) != (self.anchor_weight > 0):
            raise ValueError(
                f"anchor_data has {len(self.anchor_data)} folders and anchor_weight is {self.anchor_weight}: "
                "set both, or neither"
            )
        return self


def named_settings(value: Any, kind: str, known: Collection[str], *, default: str) -> Any:
    """Settings of one of several kinds, from its name alone or from a mapping with a name.

    Raises:
        ValueError: a name that is not known, with the nearest that is.

    Example:
        >>> named_settings("ipo", "loss", ["ipo", "sigmoid"], default="sigmoid")
        {'name': 'ipo'}
    """
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        return value
    name = str(given.get("name", default))
    if name not in known:
        raise ValueError(unknown(kind, name, known))
    return {**given, "name": name}


def make_config(config_type: type[C], settings: Mapping[str, Any], *, where: str = "settings") -> C:
    """Check settings, with an error that names the key and the remedy.

    Args:
        config_type: `SftConfig`, `RewardConfig`, `DpoConfig` or `PpoConfig`.
        settings: the keys.
        where: file or other place, for the message.

    Raises:
        SettingsError: an unknown key (with the nearest known one), a bad value, a contradiction.

    Example:
        >>> make_config(SftConfig, {"model": "m", "data": "d", "out": "o", "epoch": 1})
        Traceback (most recent call last):
        ...
        vlmalign.records.suggestions.UnknownKeyError: settings: unknown key 'epoch'. Did you mean 'epochs'?
    """
    try:
        return config_type.model_validate(dict(settings))
    except ValidationError as error:
        kind = UnknownKeyError if is_unknown_key(error) else SettingsError
        raise kind(f"{where}: {explain(error, 'key', lambda place: _fields_at(config_type, place))}") from None


def _fields_at(settings: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Keys that the mapping at a place may have; of alternatives, the place says the name."""
    here = [settings]
    for step in place:
        if isinstance(step, int):
            continue
        if len(here) > 1:
            here = [kind for kind in here if step in get_args(kind.model_fields["name"].annotation)]
        else:
            here = list(_mappings(here[0].model_fields[step].annotation))
    return list(here[0].model_fields)


def _mappings(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _mappings(part)
