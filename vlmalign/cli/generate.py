"""`vlmalign generate`: a model answers cases; its answers are written as candidates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vlmalign.cli.commands import SHARD_HELP
from vlmalign.cli.console import track
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import in_shard, stage

MEGAFLOPS = "megaflops"
Kind = Literal["report", "conversation"]


@stage("generate", shards=True)
def generate(
    model: str | Path,
    cases: Path,
    out: Path,
    n: int = 4,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int = 128,
    seed: int = 0,
    kind: Kind = "report",
    logic: str = "",
    concepts: list[str] | None = None,
    batch_size: int = 32,
    limit: int | None = None,
    blank_images: bool = False,
    overwrite: bool = False,
) -> None:
    """Sample answers of a model to cases (seeded) and write them as candidates. Resumable."""
    from vlmalign.records import Case, DatasetBuild, RecordFolder

    check_numbers(n, temperature, top_p, max_new_tokens, batch_size, limit)
    _check_questions(kind, logic, concepts)
    folder = RecordFolder(cases, Case)
    weights = model_to_sample(model)
    policy = policy_id(weights)
    config = {
        "stage": "generate", "policy": policy, "cases": folder.sha256, "n": n, "temperature": temperature,
        "top_p": top_p, "max_new_tokens": max_new_tokens, "seed": seed, "kind": kind, "logic": logic,
        "concepts": concepts, "batch_size": batch_size, "limit": limit, "blank_images": blank_images,
    }  # fmt: skip
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "candidate", config, overwrite=overwrite, data_use=data_use) as build:
        if build.finished:
            return
        total = len(folder) if limit is None else min(limit, len(folder))
        mine = build.part(math.ceil(total / batch_size))
        sampler = _Sampler(weights, policy, config)
        batches = _batches(folder, total, batch_size)
        for number, batch in track(
            enumerate(batches), f"generate {Path(out).name}", math.ceil(total / batch_size)
        ):
            unit = batch[0].id
            if number in mine and not build.has(unit):
                images = [[folder.image(ref, record=case.id) for ref in case.images] for case in batch]
                answers = list(sampler.answer(batch, images))
                unfinished = sum(not answer.finished for answer in answers)
                counts = {"unfinished": unfinished, MEGAFLOPS: sampler.megaflops(answers)}
                build.commit(unit, answers, counts)


def _batches(folder: Iterable[Any], total: int, size: int) -> Iterator[list[Any]]:
    """The first so many cases, `size` at a time; the folder is read to its end, which checks it."""
    cases = iter(folder)
    for start in range(0, total, size):
        yield list(itertools.islice(cases, min(size, total - start)))
    for _ in cases:
        pass


def command(
    model: Annotated[
        str,
        typer.Argument(help="a model folder, a run folder, builtin:smear-base, or a name on the Hugging Face hub"),
    ],
    cases: Annotated[Path, typer.Argument(help="folder of cases")],
    out: Annotated[Path, typer.Argument(help="folder of candidates to write")],
    n: Annotated[int, typer.Option(help="answers per case")] = 4,
    temperature: Annotated[float, typer.Option(help="0 is greedy: then also --n 1")] = 1.0,
    top_p: Annotated[float, typer.Option(help="draw from the likeliest tokens that make up this share")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(help="per assistant turn")] = 128,
    seed: Annotated[int, typer.Option(help="the same seed gives the same answers")] = 0,
    kind: Annotated[
        Kind, typer.Option(help="answer the case's prompt, or the clinical logic's questions in turn")
    ] = "report",
    logic: Annotated[str, typer.Option(help="clinical logic of a conversation: a name or a YAML file")] = "",
    concepts: Annotated[list[str] | None, typer.Option("--concept", help="ask only these; repeat it")] = None,
    batch_size: Annotated[int, typer.Option(help="cases per batch, and per step of a continued run")] = 32,
    limit: Annotated[int | None, typer.Option(help="only the first so many cases")] = None,
    blank_images: Annotated[
        bool, typer.Option("--blank-images", help="control: grey pictures instead of the real ones")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="start anew where the folder was built with other settings")
    ] = False,
    shard: Annotated[str | None, typer.Option(help=SHARD_HELP)] = None,
) -> None:
    """Sample answers of a model to cases (seeded) and write them as candidates.

    For example: vlmalign generate runs/sft cases candidates --n 8, or greedily: --n 1 --temperature 0, or as a
    conversation in which the model is fed its own earlier answers: --kind conversation --logic peripheral_smear

    A killed run continues with the same command and ends with the same bytes. Next: vlmalign build expert.
    """
    before = stamp(out)
    with in_shard("generate", shard):
        generate(
            model, cases, out, n, temperature, top_p, max_new_tokens, seed, kind, logic, concepts, batch_size,
            limit, blank_images, overwrite,
        )  # fmt: skip
    tell_outcome(out, before)


def check_numbers(
    n: int, temperature: float, top_p: float, max_new_tokens: int, batch_size: int, limit: int | None
) -> None:
    """Refuse sampling settings that cannot be meant."""
    counts = {"n": n, "max_new_tokens": max_new_tokens, "batch_size": batch_size, "limit": limit}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}: at least 1 is required")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature is {temperature}: 0 (greedy) or more is required")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}: more than 0 and at most 1 is required; 1 leaves nothing out")
    if temperature == 0 and n != 1:
        raise ValueError(f"n is {n} at temperature 0: greedy answers are all the same, use n 1")


def _check_questions(kind: Kind, logic: str, concepts: list[str] | None) -> None:
    if kind == "report":
        if logic or concepts:
            given = "logic" if logic else "concepts"
            raise ValueError(f"{given} is given and kind is 'report': drop it, or ask with --kind conversation")
        return
    if not logic:
        raise ValueError("kind is 'conversation' but no logic is given: pass --logic NAME")
    check_asked(logic, concepts or ())


def check_asked(logic: str, concepts: Sequence[str]) -> tuple[str, ...]:
    """Refuse concepts that no question of a logic asks; all those that can be asked, in canonical order."""
    from vlmalign.clinical import load_logic

    known = load_logic(logic).order
    for concept in concepts:
        if concept not in known:
            raise ValueError(f"concept {concept!r} has no question in logic {logic!r}: ask of {', '.join(known)}")
    return known


def model_to_sample(model: str | Path) -> str | Path:
    """The folder to load: of a run its `model`, of `builtin:NAME` the package's; a Hub id as it is.

    Raises:
        FileNotFoundError: no such folder, no model in it, or a run that is not complete.
        ValueError: a reward model.
    """
    from vlmalign.training.runs import model_hash

    if model_hash(model) is None:
        return str(model)
    from vlmalign.models.builtin import resolve_checkpoint
    from vlmalign.models.loading import check_speaks, model_folder

    found = Path(resolve_checkpoint(model_folder(model)))
    check_speaks(found)
    return found


def policy_id(model: str | Path) -> str:
    """Name of a model folder and a hash of its weights, e.g. `dpo@1f3a9c0b2d4e`; of a Hub id its revision."""
    from vlmalign.records.hashing import config_hash, sha256_file

    folder = Path(model)
    if isinstance(model, str) and not folder.is_dir():
        return f"{folder.name}@{_revision(model)[:12]}"
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise FileNotFoundError(
            f"{folder} holds no *.safetensors weights. Pass a run, or the `model` folder in it."
        )
    digest = config_hash([sha256_file(path) for path in weights])
    name = folder.parent.name if folder.name == "model" else folder.name
    return f"{name}@{digest[:12]}"


def _revision(model: str) -> str:
    from transformers import AutoConfig

    try:
        return str(AutoConfig.from_pretrained(model, trust_remote_code=False)._commit_hash)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise FileNotFoundError(f"{model} is no folder here and cannot be had from the Hub: {reason}") from None


class _Sampler:
    """A loaded model with its sampling settings."""

    def __init__(self, model: str | Path, policy: str, config: dict[str, Any]) -> None:
        from vlmalign.clinical import load_logic
        from vlmalign.models import load_vlm

        self.vlm = load_vlm(model)
        self.policy = policy
        self.config = config
        self.logic = load_logic(config["logic"]) if config["logic"] else None
        self.prompts: dict[str, Any] = {}

    def answer(self, cases: Sequence[Any], images: list[list[Any]]) -> Iterator[Any]:
        """Candidates of a batch of cases, in order, samples of one case together."""
        from vlmalign.records.hashing import derive_seed

        if self.config["blank_images"]:
            from vlmalign.data import blank_image

            images = [[blank_image(image) for image in group] for group in images]
        seeds = [
            [derive_seed(self.config["seed"], case.id, sample) for sample in range(self.config["n"])]
            for case in cases
        ]
        if self.config["kind"] == "report":
            return self._reports(cases, images, seeds)
        return self._conversations(cases, images, seeds)

    def _reports(self, cases: Sequence[Any], images: list[list[Any]], seeds: list[list[int]]) -> Iterator[Any]:
        from vlmalign.data import encode_prompts
        from vlmalign.models import sample_responses
        from vlmalign.records import assistant

        prompts = encode_prompts(
            self.vlm.processor, [case.messages for case in cases], images, [case.id for case in cases]
        )
        self.prompts = prompts
        drawn = sample_responses(self.vlm, prompts, seeds=seeds, **self._settings())
        for case, samples, own_seeds in zip(cases, drawn, seeds, strict=True):
            for i, sample in enumerate(samples):
                yield self._candidate(case, i, own_seeds[i], [assistant(sample.text)], [sample], {})

    def _conversations(
        self, cases: Sequence[Any], images: list[list[Any]], seeds: list[list[int]]
    ) -> Iterator[Any]:
        from vlmalign.clinical import question_text
        from vlmalign.data import encode_prompts
        from vlmalign.models import sample_conversations
        from vlmalign.records import assistant, user

        assert self.logic is not None
        concepts = self.config["concepts"] or [question.concept for question in self.logic.questions]
        asked = [[question_text(self.logic, c, seed=own[0]) for c in concepts] for own in seeds]
        first = [(user(q[0], images=len(case.images)),) for case, q in zip(cases, asked, strict=True)]
        prompts = encode_prompts(self.vlm.processor, first, images, [case.id for case in cases])
        self.prompts = prompts
        drawn = sample_conversations(self.vlm, prompts, [q[1:] for q in asked], seeds=seeds, **self._settings())
        for case, questions, conversations, own_seeds in zip(cases, asked, drawn, seeds, strict=True):
            for i, conversation in enumerate(conversations):
                messages = [assistant(conversation.turns[0].text)]
                for question, turn in zip(questions[1:], conversation.turns[1:], strict=True):
                    messages += [user(question), assistant(turn.text)]
                extra = {"concepts": concepts, "first_question": questions[0]}
                yield self._candidate(case, i, own_seeds[i], messages, conversation.turns, extra)

    def megaflops(self, answers: Sequence[Any]) -> int:
        """What sampling the last batch cost, in millions of floating point operations."""
        from vlmalign.models import sampling_flops

        new_tokens = sum(answer.tokens for answer in answers) / len(answers)
        total = sampling_flops(self.vlm.model, self.prompts, samples=len(answers), new_tokens=new_tokens)
        return round(total / 1e6)

    def _settings(self) -> dict[str, Any]:
        return {key: self.config[key] for key in ("temperature", "top_p", "max_new_tokens")}

    def _candidate(
        self, case: Any, i: int, seed: int, messages: list[Any], turns: Sequence[Any], extra: dict[str, Any]
    ) -> Any:
        from vlmalign.records import Candidate, Sampling

        return Candidate(
            id=f"{case.id}/{self.config['kind']}/{i}",
            case_id=case.id,
            group_id=case.group_id,
            messages=tuple(messages),
            policy=self.policy,
            sampling=Sampling(**self._settings(), sample=i),
            seed=seed,
            logp=sum(turn.logp for turn in turns),
            tokens=sum(len(turn.token_ids) for turn in turns),
            finished=all(turn.finished for turn in turns),
            extra=extra,
        )
