"""`vlmalign experts`: models that look at images and write findings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from vlmalign.cli.commands import SHARD_HELP
from vlmalign.cli.console import console
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.settings import make_settings, settings_table
from vlmalign.cli.stages import in_shard, parse_settings, stage

if TYPE_CHECKING:
    from pydantic import BaseModel

    from experts import ExpertCard

Trainable = Literal["segmentation", "classification"]


def _list_settings(value: bool) -> None:
    if not value:
        return
    from experts.classifier_config import ClassifierConfig
    from experts.config import ExpertConfig

    both: dict[str, type[BaseModel]] = {"segmentation": ExpertConfig, "classification": ClassifierConfig}
    for architecture, settings in both.items():
        console.print(f"[bold]{architecture}[/]")
        for name, default, about in settings_table(settings):
            console.print(f"  {name:26} {default:10} {about}", markup=False)
    raise typer.Exit


ListSettings = Annotated[
    bool,
    typer.Option(
        "--settings", callback=_list_settings, is_eager=True, help="list every setting with its default, and stop"
    ),
]
app = typer.Typer(no_args_is_help=True, help="Experts: train, adopt, measure, run, list.")


@app.command("train")
def train_command(
    cases: Annotated[
        Path, typer.Argument(help="cases whose findings carry masks or boxes, or are present or absent")
    ],
    out: Annotated[Path, typer.Argument(help="the expert's folder to write")],
    set_: Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set epochs=20")] = [],  # noqa: B006
    overwrite: Annotated[bool, typer.Option("--overwrite", help="discard an expert of other settings")] = False,
    architecture: Annotated[Trainable, typer.Option(help="what to train")] = "segmentation",
    settings: ListSettings = False,
) -> None:
    """Train an expert on a folder of cases; one part of the groups is held out to test it.

    A segmentation expert learns from masks or boxes of counted structures, a classification expert from findings
    that are present or absent.

    For example: vlmalign experts train roles/expert runs/expert --set epochs=20 --set size=96, or from a table of
    findings: vlmalign experts train roles/train runs/expert --architecture classification

    A stopped training continues with the same command. Next: vlmalign experts run OUT CASES FINDINGS.
    """
    before = stamp(out)
    train(cases, out, parse_settings(set_), overwrite, architecture)
    tell_outcome(out, before)


@stage("expert-train")
def train(
    cases: Path,
    out: Path,
    config: dict[str, Any] | None = None,
    overwrite: bool = False,
    architecture: Trainable = "segmentation",
) -> None:
    """Train an expert: segmentation or classification."""
    if architecture == "classification":
        from experts.classifier_config import ClassifierConfig
        from experts.classifier_training import train_classifier

        wanted = make_settings(ClassifierConfig, config or {}, where="classifier settings")
        train_classifier(cases, out, config=wanted, overwrite=overwrite)
        return
    from experts import ExpertConfig, train_expert

    settings = make_settings(ExpertConfig, config or {}, where="expert settings")
    train_expert(cases, out, config=settings, overwrite=overwrite)


@app.command("adopt")
def adopt_command(
    settings: Annotated[Path, typer.Argument(help="YAML: architecture, card, settings, files")],
    out: Annotated[Path, typer.Argument(help="the expert's folder to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an expert that is there")] = False,
) -> None:
    """Make an expert of a network that is trained already, or of a model server; its card says "unknown".

    The setting file names the architecture (classification, zero_shot, monai_network, monai_bundle, xrayvision,
    http, ensemble, views), the card's name, modality and domain, the architecture's settings, and which files to
    copy. Weights are safetensors.

    For example: vlmalign experts adopt chest.yaml runs/chest

    Next: vlmalign experts measure OUT CASES MEASURED.
    """
    adopt(settings, out, overwrite)
    console.print(f"wrote {out}", markup=False)


@stage("expert-adopt", continues=False)
def adopt(settings: Path, out: Path, overwrite: bool = False) -> None:
    """Make an expert of a network that is trained already, or of a model server."""
    from experts.adoption import adopt as make

    make(settings, out, overwrite=overwrite)


@app.command("measure")
def measure_command(
    expert: Annotated[Path, typer.Argument(help="an expert that says what is present, or draws structures")],
    cases: Annotated[Path, typer.Argument(help="cases whose findings are present or absent, drawn or numbers")],
    out: Annotated[Path, typer.Argument(help="the measured expert's folder to write")],
    choose: Annotated[
        str | None, typer.Option(help="choose thresholds first: youden, f1, or sensitivity>=X")
    ] = None,
    choice_share: Annotated[
        float | None, typer.Option(help="share of the groups that thresholds are chosen on; default 0.4")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the division into groups")] = 0,
    observer: Annotated[str | None, typer.Option(help="masks: whose references count, if several drew")] = None,
    compare: Annotated[
        list[str] | None, typer.Option(help="masks: REFERENCE=STRUCTURE, e.g. optic_disc=cup+rim; repeatable")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an expert that is there")] = False,
) -> None:
    """Write a copy of an expert whose card says how good it is on groups that it has not seen.

    AUROC, sensitivity and specificity at the threshold, Brier score and calibration error, each with its 95 %
    interval over groups; with --choose also the AUROC of 16 x 16 pixels on the same images. Of an expert that
    draws structures: Dice against reference masks, mean absolute error and bias of its areas, counts, ratios and
    lengths.

    For example: vlmalign experts measure runs/chest cases runs/chest-measured --choose youden

    Masks: vlmalign experts measure runs/disc cases runs/disc-measured --compare optic_disc=cup+rim
    """
    measure(expert, cases, out, choose, choice_share, seed, observer, compare, overwrite)
    _tell(out)
    console.print(f"wrote {out}", markup=False)


@stage("expert-measure", continues=False)
def measure(
    expert: Path,
    cases: Path,
    out: Path,
    choose: str | None = None,
    choice_share: float | None = None,
    seed: int = 0,
    observer: str | None = None,
    compare: list[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a copy of an expert whose card says how good it is on groups that it has not seen."""
    from experts.measuring import measure_expert

    measure_expert(
        expert,
        cases,
        out,
        choose=choose,
        choice_share=choice_share,
        seed=seed,
        observer=observer,
        compare=compare or (),
        overwrite=overwrite,
    )


def _tell(folder: Path) -> None:
    from experts import read_card

    _tell_card(read_card(folder))


def _tell_card(card: ExpertCard) -> None:
    """What an expert assesses, its thresholds, and how good it is."""
    console.print(f"    assesses {', '.join(card.concepts)}", markup=False)
    for point in card.operating_points:
        n = f"{point.images} images of {point.groups} groups, {point.positives} positive"
        interval = _interval(point.threshold_low, point.threshold_high)
        console.print(
            f"    {point.concept} from {point.threshold:.3f} ({interval}) by {point.rule}, {n}", markup=False
        )
    for metric in card.performance:
        figure = f"{metric.value:.3f} ({_interval(metric.low, metric.high)})"
        n = f"{metric.images} images of {metric.groups} groups"
        console.print(f"    {metric.name} of {metric.structure}: {figure}, {n}", markup=False)
    if not card.performance and card.limits:
        console.print(f"    {card.limits[0]}", markup=False)


def _interval(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{low:.3f} to {high:.3f}"


@app.command("run")
def run_command(
    expert: Annotated[Path, typer.Argument(help="an expert's folder: of experts train, adopt or measure")],
    cases: Annotated[Path, typer.Argument(help="folder of cases; what is known of them is not looked at")],
    out: Annotated[Path, typer.Argument(help="folder of findings to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder of other settings")] = False,
    batch_size: Annotated[int, typer.Option(help="cases per batch, and per step of a continued run")] = 64,
    shard: Annotated[str | None, typer.Option(help=SHARD_HELP)] = None,
    backend: Annotated[
        Literal["serial", "ray"], typer.Option(help="ray: on the cluster of RAY_ADDRESS, or this machine's CPUs")
    ] = "serial",
    workers: Annotated[int | None, typer.Option(help="processes of ray; default: one for each CPU")] = None,
) -> None:
    """Let an expert look at every image of a folder and write findings with their uncertainty.

    For example: vlmalign experts run runs/expert cases findings

    A killed run continues with the same command. Next: vlmalign build expert --findings OUT.
    """
    before = stamp(out)
    with in_shard("expert-run", shard):
        run(expert, cases, out, overwrite, batch_size, backend, workers)
    tell_outcome(out, before)


@stage("expert-run", shards=True)
def run(
    expert: Path,
    cases: Path,
    out: Path,
    overwrite: bool = False,
    batch_size: int = 64,
    backend: Literal["serial", "ray"] = "serial",
    workers: int | None = None,
) -> None:
    """Let an expert look at every image of a folder and write findings with their uncertainty."""
    from experts import run_expert

    run_expert(expert, cases, out, overwrite=overwrite, batch_size=batch_size, backend=backend, workers=workers)


@app.command("list")
def list_(
    folder: Annotated[Path | None, typer.Argument(help="also look for trained experts below this")] = None,
) -> None:
    """List expert architectures and trained experts with what they can assess and how well.

    For example: vlmalign experts list runs
    """
    from experts import list_experts

    for listing in [*list_experts(), *(list_experts(folder) if folder else [])]:
        where = f"{listing.folder or listing.origin}" + (f": {listing.about}" if listing.about else "")
        console.print(f"[bold]{escape(f'{listing.name:16}')}[/] {escape(where)}")
        if listing.problem:
            console.print(f"    cannot be used: {listing.problem}", markup=False)
        if listing.card is None:
            continue
        _tell_card(listing.card)
