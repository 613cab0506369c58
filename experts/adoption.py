"""Making an expert's folder from a network that somebody else trained: settings, weights, and an honest card."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from experts.expert_files import (
    CARD,
    PERFORMANCE_UNKNOWN,
    check_place,
    put_in_place,
    refuse_another,
    write_expert,
)
from experts.protocol import ExpertCard
from experts.registry import load_expert
from vlmalign.records import DataError
from vlmalign.records.base import Part
from vlmalign.records.image import check_relative
from vlmalign.records.suggestions import explain, unknown

CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
ADOPTABLE = (
    "classification", "zero_shot", "monai_network", "monai_bundle", "xrayvision", "http", "ensemble", "views",
)  # fmt: skip
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".npz", ".npy")


class CardText(Part):
    """What only the user can say of an expert."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9_.-]+$")
    modality: str
    domain: str
    limits: tuple[str, ...] = ()


class Adoption(Part):
    """A setting file: what to adopt and from where. Paths are relative to the file.

    Example:
        >>> Adoption.model_validate({"architecture": "http", "card": {"name": "s", "modality": "xray",
        ...     "domain": "chest_xray"}, "settings": {"url": "http://127.0.0.1:1/x", "concepts": ["mass"]}}).files
        {}
    """

    architecture: str
    card: CardText
    settings: dict[str, Any]
    files: dict[str, str] = Field(
        default_factory=dict,
        description="name in the expert's folder -> file or folder to copy, e.g. weights.safetensors: "
        "model.safetensors",
    )
    zoo: str | None = Field(None, description="monai_bundle: fetch this bundle of MONAI's zoo; needs the network")


def _kinds() -> Mapping[str, tuple[type[BaseModel], Any]]:
    """Settings of each architecture, and which files its version covers given the folder and the settings."""
    from experts.classification import ClassifierSettings
    from experts.ensemble import EnsembleSettings, ViewSettings
    from experts.http_server import HttpSettings
    from experts.monai_bundles import bundle_files
    from experts.monai_networks import BundleSettings, NamedSettings
    from experts.xrayvision import XraySettings
    from experts.zero_shot import ZeroShotSettings, clip_files

    return {
        "classification": (ClassifierSettings, lambda folder, s: s.weights),
        "zero_shot": (ZeroShotSettings, lambda folder, s: clip_files(s.clip)),
        "monai_network": (NamedSettings, lambda folder, s: s.weights),
        "monai_bundle": (BundleSettings, lambda folder, s: bundle_files(folder / s.bundle, s)),
        "xrayvision": (XraySettings, lambda folder, s: s.files),
        "http": (HttpSettings, lambda folder, s: ()),
        "ensemble": (EnsembleSettings, lambda folder, s: tuple(f"{name}/{CARD}" for name in s.members)),
        "views": (ViewSettings, lambda folder, s: (f"{s.member}/{CARD}",)),
    }


def settings_of(architecture: str) -> type[BaseModel]:
    """The settings of an architecture that can be adopted.

    Raises:
        ValueError: no such architecture.
    """
    if architecture not in ADOPTABLE:  # before the libraries of all of them are imported
        raise ValueError(f"architecture is {architecture!r}: what can be adopted is {', '.join(ADOPTABLE)}")
    return _kinds()[architecture][0]


def files_of(architecture: str, folder: Path, settings: BaseModel) -> tuple[str, ...]:
    """The files that an expert's version covers."""
    found: tuple[str, ...] = _kinds()[architecture][1](folder, settings)
    return found


def read_adoption(file: str | Path) -> Adoption:
    """Read a setting file.

    Raises:
        DataError: it is missing, no YAML, or has a wrong key.
    """
    try:
        data = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        return Adoption.model_validate_json(json.dumps(data))
    except FileNotFoundError:
        raise DataError("no such file", "Check the path.", file=file) from None
    except ValidationError as error:
        rule = explain(error, "key", lambda place: Adoption.model_fields if not place else ())
        raise DataError(rule.removesuffix(" Correct it."), "Correct the setting file.", file=file) from None
    except (yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"not valid YAML ({error})", "Correct the setting file.", file=file) from None


def adopt(setting_file: str | Path, out: str | Path, *, overwrite: bool = False) -> Path:
    """Make an expert's folder, load it once to see that it is whole, and say on its card that nobody measured it.

    Args:
        setting_file: YAML as `Adoption` describes it.
        out: the folder; the same adoption again does nothing.
        overwrite: replace an expert that is there.

    Returns:
        The expert's folder.

    Raises:
        DataError: a wrong key, a missing or pickled file, weights that do not fit, or another expert in `out`.
        OSError: a bundle of the zoo cannot be fetched.
    """
    file, out = Path(setting_file), Path(out)
    adoption = read_adoption(file)
    try:
        kind = settings_of(adoption.architecture)
        settings = kind.model_validate_json(json.dumps(adoption.settings))
    except ValidationError as error:
        rule = explain(error, "setting", lambda place: kind.model_fields if not place else ())
        raise DataError(
            rule.removesuffix(" Correct it."), "Correct the setting file.", file=file, field="settings"
        ) from None
    except ValueError as error:
        raise DataError(str(error), "Correct it.", file=file, field="architecture") from None
    if adoption.zoo and adoption.architecture != "monai_bundle":
        raise DataError("zoo is for monai_bundle only", "Leave it out.", file=file, field="zoo")
    _refuse_untrusted(settings, file)
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".adopting-", dir=out.parent) as temporary:
        made = Path(temporary) / "expert"
        made.mkdir()
        _gather(adoption, settings, file, made)
        card = _card(adoption, made, settings)
        _refuse_unknown_concepts(card, settings, file)
        write_expert(made, card, settings, files_of(adoption.architecture, made, settings))
        _let_run(made, settings)
        if refuse_another(made, out, overwrite=overwrite):
            return out
        load_expert(made)
        return put_in_place(made, out, overwrite=overwrite)


def _refuse_unknown_concepts(card: ExpertCard, settings: BaseModel, file: Path) -> None:
    """A misspelt concept would else be a threshold that decides nothing."""
    for key in ("thresholds", "only"):
        given: Mapping[str, Any] = getattr(settings, key, {})
        for name in given:
            if name not in card.concepts:
                rule = f"{key}: {unknown('concept', name, card.concepts)}"
                raise DataError(rule, "Correct the setting file.", file=file, field=f"settings.{key}")
    for name, threshold in getattr(settings, "thresholds", {}).items():
        if not 0 <= threshold <= 1:
            raise DataError(
                f"the threshold of {name} is {threshold}: 0 to 1 is required", "Correct the setting file.",
                file=file, field="settings.thresholds",
            )  # fmt: skip


def _refuse_untrusted(settings: BaseModel, file: Path) -> None:
    from experts.monai_bundles import WHY
    from experts.monai_networks import BundleSettings

    if isinstance(settings, BundleSettings) and not settings.trust_bundle:
        raise DataError(
            f"the bundle is not trusted: {WHY}",
            "Read it, then set trust_bundle: true if you would run it.",
            file=file,
            field="settings.trust_bundle",
        )


def _let_run(made: Path, settings: BaseModel) -> None:
    from experts.monai_bundles import trust
    from experts.monai_networks import BundleSettings
    from experts.registry import read_card

    if isinstance(settings, BundleSettings):
        trust(read_card(made).version)


def _gather(adoption: Adoption, settings: BaseModel, file: Path, made: Path) -> None:
    for name, source in adoption.files.items():
        try:
            target = made / check_relative(name)
        except ValueError as error:
            raise DataError(
                str(error), "Name a place inside the expert's folder.", file=file, field="files"
            ) from None
        origin = (file.parent / source).expanduser()
        if not origin.exists():
            raise DataError(
                f"{name}: no such file or folder as {source}", "Check the path.", file=file, field="files"
            )
        if adoption.architecture == "zero_shot" and name == getattr(settings, "clip", None):
            _copy_clip(origin, target)
        elif origin.is_dir():
            shutil.copytree(origin, target)
        elif origin.suffix != ".safetensors" and target.suffix == ".safetensors":
            raise DataError(
                f"{source} is not safetensors: pickled weights can run code when they are read",
                "Convert them with safetensors.torch.save_file in a place that you trust.",
                file=origin,
            )
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin, target)
    if adoption.zoo:
        from experts.monai_bundles import download_bundle

        bundle = download_bundle(adoption.zoo, made / ".zoo")
        bundle.rename(made / str(getattr(settings, "bundle", "bundle")))
        shutil.rmtree(made / ".zoo", ignore_errors=True)


def _copy_clip(origin: Path, target: Path) -> None:
    """A CLIP folder with its weights under one name; pickled files stay behind."""
    weights = next((origin / name for name in CLIP_WEIGHTS if (origin / name).is_file()), None)
    if weights is None:
        raise DataError(
            "the CLIP folder has no safetensors weights; pickled ones can run code when they are read",
            "Convert them with safetensors.torch.save_file in a place that you trust.",
            file=origin,
        )
    target.mkdir(parents=True)
    for path in origin.iterdir():
        if path.is_file() and path.suffix not in (*PICKLED, ".safetensors"):
            shutil.copyfile(path, target / path.name)
    shutil.copyfile(weights, target / CLIP_WEIGHTS[0])


def _card(adoption: Adoption, made: Path, settings: BaseModel) -> ExpertCard:
    concepts = getattr(settings, "concepts", None)
    structures: tuple[str, ...] = getattr(settings, "structures", ())
    if concepts is None:  # an ensemble, or views: what the members assess
        from experts.registry import read_card

        members = getattr(settings, "members", None) or (getattr(settings, "member", ""),)
        cards = [read_card(made / name) for name in members]
        concepts = tuple(dict.fromkeys(c for card in cards for c in card.concepts))
        structures = cards[0].structures
    text = adoption.card
    return ExpertCard(
        name=text.name,
        version="unset",
        architecture=adoption.architecture,
        modality=text.modality,
        domain=text.domain,
        structures=structures,
        concepts=concepts,
        limits=(PERFORMANCE_UNKNOWN, *text.limits, *_own_limits(adoption.architecture, settings)),
    )


def _own_limits(architecture: str, settings: BaseModel) -> tuple[str, ...]:
    found = []
    if getattr(settings, "concepts", None) and hasattr(settings, "thresholds"):
        bare = [c for c in getattr(settings, "concepts", ()) if c not in settings.thresholds]
        if bare and architecture != "monai_network":
            found.append(
                f"No threshold was chosen for {', '.join(bare)}: 0.2 and 0.8 decide, between is uncertain."
            )
    measures = getattr(settings, "measures", ())
    if measures and len(getattr(settings, "weights", ())) * len(getattr(settings, "views", ())) <= 1:
        bare = [m.concept for m in measures if m.floor == 0]
        if bare:
            found.append(
                f"One network and one view: the deviation of {', '.join(bare)} is 0, which is no certainty."
            )
    if architecture == "zero_shot":
        found.append(
            "Probabilities compare two sets of prompts and are not calibrated; CLIPs read negation badly."
        )
    if architecture == "http":
        found.append("The model runs elsewhere and may change without a change of this card.")
    return tuple(found)
