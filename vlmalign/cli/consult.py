"""`vlmalign consult`: a model answers cases and may call an expert; `generate` is the same without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import track
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import stage

KIND = "consultation"


@stage("consult")
def consult(
    model: str | Path,
    cases: Path,
    out: Path,
    expert: Path | None = None,
    logic: str = "",
    concepts: Sequence[str] = (),
    swap_feedback: bool = False,
    temperature: float = 0.0,
    top_p: float = 1.0,
    max_new_tokens: int = 128,
    seed: int = 0,
    batch_size: int = 32,
    limit: int | None = None,
    overwrite: bool = False,
) -> None:
    """Answers of a model that may call an expert, as candidates: the final answer, with the call beside it."""
    from experts import load_expert, read_card
    from vlmalign.cli.generate import check_numbers, model_to_sample, policy_id
    from vlmalign.models import load_vlm
    from vlmalign.records import Case, DatasetBuild, RecordFolder

    check_numbers(1, temperature, top_p, max_new_tokens, batch_size, limit)
    questions = _questions(logic, concepts)
    if expert is None and swap_feedback:
        raise ValueError("--swap-feedback shows the expert another picture: give --expert, or drop it")
    card = None if expert is None else read_card(expert)
    folder = RecordFolder(cases, Case)
    weights = model_to_sample(model)
    policy = policy_id(weights)
    config = {
        "stage": KIND, "policy": policy, "cases": folder.sha256, "expert": card and card.id,
        "logic": logic, "concepts": list(questions), "swap_feedback": swap_feedback, "temperature": temperature,
        "top_p": top_p, "max_new_tokens": max_new_tokens, "seed": seed, "batch_size": batch_size, "limit": limit,
    }  # fmt: skip
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "candidate", config, overwrite=overwrite, data_use=data_use) as build:
        if build.finished:
            return
        records = list(folder)[:limit]
        _refuse_several_images(records)
        others = _next_group(records) if swap_feedback else {}
        loaded = None if expert is None else load_expert(expert)
        writer = _Writer(load_vlm(weights), loaded, policy, folder, config, others)
        batches = [records[i : i + batch_size] for i in range(0, len(records), batch_size)]
        for batch in track(batches, f"consult {Path(out).name}"):
            for concept in questions or ("",):
                unit = f"{batch[0].id}/{concept}"
                if not build.has(unit):
                    build.commit(unit, *writer.answer(batch, concept))


def command(
    model: Annotated[str, typer.Argument(help="a model folder, a run folder, or builtin:smear-base")],
    cases: Annotated[Path, typer.Argument(help="folder of cases, one image each")],
    out: Annotated[Path, typer.Argument(help="folder of candidates to write")],
    expert: Annotated[
        Path | None, typer.Option(help="an expert's folder: whom the model may call; default: nobody")
    ] = None,
    logic: Annotated[str, typer.Option(help="ask the questions of this logic, each alone")] = "",
    concepts: Annotated[list[str] | None, typer.Option("--concept", help="ask only these; repeat it")] = None,
    swap_feedback: Annotated[
        bool, typer.Option("--swap-feedback", help="control: the expert is shown another group's picture")
    ] = False,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.0,
    top_p: Annotated[float, typer.Option(help="draw from the likeliest tokens that make up this share")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(help="per turn of the model")] = 128,
    seed: Annotated[int, typer.Option(help="the same seed gives the same answers")] = 0,
    batch_size: Annotated[int, typer.Option(help="cases per batch")] = 32,
    limit: Annotated[int | None, typer.Option(help="only the first so many cases")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="start anew where settings differ")] = False,
) -> None:
    """Let a model answer cases with an expert at hand, and write its final answers as candidates.

    For example: vlmalign consult runs/sft cases candidates --expert runs/expert

    The prompt lists the expert; where the model writes a call, the expert's findings and its overlay come back and
    the model answers again (VILA-M3). Compare with the same command without --expert (is it worth calling?) and
    with --swap-feedback (does the model read what comes back?):
    vlmalign evaluate answers A --cases CASES --against B
    """
    before = stamp(out)
    consult(
        model, cases, out, expert, logic, concepts or (), swap_feedback, temperature, top_p, max_new_tokens, seed,
        batch_size, limit, overwrite,
    )  # fmt: skip
    tell_outcome(out, before)


def _questions(logic: str, concepts: Sequence[str]) -> tuple[str, ...]:
    """The concepts that are asked, each alone; none: the cases' own prompts."""
    from vlmalign.cli.generate import check_asked

    if not logic:
        if concepts:
            raise ValueError("concepts are given but no logic: pass --logic NAME")
        return ()
    known = check_asked(logic, concepts)
    return tuple(concepts) or known


def _refuse_several_images(cases: Sequence[Any]) -> None:
    from vlmalign.records import DataError

    for case in cases:
        if len(case.images) != 1 or len(case.messages) != 1:
            raise DataError(
                f"{len(case.images)} images and {len(case.messages)} turns, expected one of each",
                "An expert examines one image: leave the case out.",
                record=case.id,
            )


def _next_group(cases: Sequence[Any]) -> dict[str, Any]:
    """For each case one of another group, the next in the folder's order, round its end."""
    others = {}
    for i, case in enumerate(cases):
        later = (*cases[i + 1 :], *cases[:i])
        other = next((c for c in later if c.group_id != case.group_id), None)
        if other is None:
            raise ValueError("--swap-feedback needs cases of at least two groups: give more cases, or drop it")
        others[case.id] = other
    return others


class _Writer:
    """A model and an expert at work on batches of cases."""

    def __init__(
        self, vlm: Any, expert: Any, policy: str, folder: Any, config: dict[str, Any], others: dict[str, Any]
    ) -> None:
        from vlmalign.cli.consulting import Consultant
        from vlmalign.clinical import load_logic

        keys = ("temperature", "top_p", "max_new_tokens")
        self.settings = {key: config[key] for key in keys}
        self.consultant = Consultant(vlm, expert, **self.settings)
        self.concepts = list(config["concepts"])
        self.policy, self.folder, self.seed, self.others = policy, folder, config["seed"], others
        self.logic = load_logic(config["logic"]) if config["logic"] else None

    def answer(self, batch: Sequence[Any], concept: str) -> tuple[list[Any], Counter[str]]:
        """Candidates of a batch and counts of calls; without a concept the cases' own prompts are asked."""
        from vlmalign.cli.consulting import Asked
        from vlmalign.records.hashing import derive_seed

        seeds = [derive_seed(self.seed, case.id, 0) for case in batch]
        texts = [self._text(case, concept, seed) for case, seed in zip(batch, seeds, strict=True)]
        asked = [
            Asked(text, self._image(case), self._image(self.others.get(case.id, case)))
            for case, text in zip(batch, texts, strict=True)
        ]
        answers = self.consultant.answer(asked, seeds)
        counts: Counter[str] = Counter(f"call_{answered.call.state}" for answered in answers)
        counts["unfinished"] = sum(not answered.final.finished for answered in answers)
        records = [
            self._candidate(case, concept, text, seed, answered)
            for case, text, seed, answered in zip(batch, texts, seeds, answers, strict=True)
        ]
        return records, +counts

    def _text(self, case: Any, concept: str, seed: int) -> str:
        from vlmalign.clinical import question_text

        if self.logic is None:
            return str(case.messages[0].text)
        return question_text(self.logic, concept, seed=seed)

    def _image(self, case: Any) -> Any:
        return self.folder.image(case.images[0], record=case.id)

    def _candidate(self, case: Any, concept: str, question: str, seed: int, answered: Any) -> Any:
        from vlmalign.records import Candidate, Sampling, assistant

        extra: dict[str, Any] = {
            "call": answered.call.state, "first": answered.first.text, "feedback": answered.feedback
        }  # fmt: skip
        if answered.call.reason:
            extra["call_reason"] = answered.call.reason
        if concept:
            extra |= {"concepts": [concept], "first_question": question}
        return Candidate(
            id=f"{case.id}/{concept or 'report'}/0",
            case_id=case.id,
            group_id=case.group_id,
            messages=(assistant(answered.final.text),),
            policy=self.policy,
            sampling=Sampling(**self.settings, sample=self.concepts.index(concept) if concept else 0),
            seed=seed,
            logp=answered.final.logp,
            tokens=len(answered.final.token_ids),
            finished=answered.final.finished,
            extra=extra,
        )
