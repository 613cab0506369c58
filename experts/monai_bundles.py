"""MONAI bundles: from a local folder or the model zoo, only where the settings say that they are trusted."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experts.expert_files import check_version, inside, read_expert, read_weights
from experts.monai_networks import BundleSettings, MonaiExpert
from vlmalign.records import DataError

WHY = (
    "a bundle's configuration is a program: `_target_` calls any Python object and `$` evaluates any expression "
    "as soon as it is read"
)
#: environment variable with the versions of the bundles that may run here: a folder can come from anybody
TRUSTED = "VLMALIGN_TRUSTED_BUNDLES"
_adopted: set[str] = set()


def trust(version: str) -> None:
    """Let this process run a bundle, as its user has just adopted it with `trust_bundle: true`."""
    _adopted.add(version)


def load_bundle(folder: Path) -> MonaiExpert:
    """Load the network of a bundle.

    Only the network is taken from the bundle; preparation and measures are those of the settings. A bundle's own
    transforms read files by path and are not used.

    Raises:
        DataError: the bundle is not trusted by its settings and by `VLMALIGN_TRUSTED_BUNDLES`, a file is missing
            or damaged, or it is TorchScript without leave.
    """
    card, settings = read_expert(folder, BundleSettings)
    if not settings.trust_bundle:
        raise DataError(
            f"the bundle is not trusted: {WHY}",
            "Read it, then adopt it with `trust_bundle: true` if you would run it.",
            file=folder,
            field="settings.trust_bundle",
        )
    check_version(folder, card, settings, bundle_files(inside(folder, settings.bundle), settings))
    if card.version not in {*_adopted, *os.environ.get(TRUSTED, "").replace(" ", "").split(",")}:
        raise DataError(
            f"the bundle says itself that it is trusted, and nobody on this machine has said so yet: {WHY}",
            f"Read it, then set the environment variable {TRUSTED}={card.version} if you would run it; of "
            "several, with commas between.",
            file=folder,
        )
    bundle = inside(folder, settings.bundle)
    return MonaiExpert([_network(bundle, settings)], card, settings)


def bundle_files(bundle: Path, settings: BundleSettings) -> tuple[str, ...]:
    """Every file of a bundle that can decide what it says, named from the expert's folder; sorted.

    A configuration can import the bundle's scripts and other configurations, so all of them count.
    """
    named = {f"{settings.bundle}/{settings.config}", f"{settings.bundle}/{settings.model}"}
    code = {
        f"{settings.bundle}/{path.relative_to(bundle).as_posix()}"
        for path in bundle.rglob("*")
        if path.suffix in (".py", ".json", ".yaml", ".yml") and path.is_file()
    }
    return tuple(sorted(named | code))


def _network(bundle: Path, settings: BundleSettings) -> nn.Module:
    model = bundle / settings.model
    if model.suffix == ".ts":
        return _torchscript(model, settings)
    weights = _bundle_weights(model)
    network = _configured(bundle, settings)
    own = network.state_dict()
    if set(own) != set(weights) or any(own[name].shape != weights[name].shape for name in own):
        missing, extra = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
        raise DataError(
            f"the weights do not fit {settings.network_key} ({len(missing)} missing, {len(extra)} unknown, or of "
            f"other shapes{', e.g. ' + (missing or extra)[0] if missing or extra else ''})",
            "Check settings.network_key and settings.model.",
            file=model,
        )
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def _torchscript(model: Path, settings: BundleSettings) -> nn.Module:
    if not settings.allow_torchscript:
        raise DataError(
            "the model is TorchScript, which is a compiled program and not weights",
            "Use the bundle's model.pt or safetensors, or set allow_torchscript: true if you would run it.",
            file=model,
            field="settings.allow_torchscript",
        )
    network: nn.Module = torch.jit.load(model, map_location="cpu")
    return network.eval()


def _bundle_weights(model: Path) -> dict[str, Tensor]:
    if model.suffix == ".safetensors":
        return read_weights(model)
    try:
        found: Any = torch.load(model, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise DataError(
            f"the model cannot be read as weights only ({str(error).splitlines()[0]})",
            "A file that holds other objects could run code: convert its state dict to safetensors in a place "
            "that you trust.",
            file=model,
        ) from None
    for key in ("state_dict", "model", "network"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise DataError("the model holds no state dict", "Save the network's state_dict().", file=model)
    return found


def _configured(bundle: Path, settings: BundleSettings) -> nn.Module:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    file = bundle / settings.config
    try:
        parser.read_config(str(file))
        parser["bundle_root"] = str(bundle)
        network = parser.get_parsed_content(settings.network_key)
    except Exception as error:  # whatever the bundle's own program raises
        raise DataError(
            f"the bundle's {settings.network_key} cannot be made ({type(error).__name__}: {error})",
            "Check the configuration, and install what it needs.",
            file=file,
        ) from error
    if not isinstance(network, nn.Module):
        raise DataError(
            f"{settings.network_key} is {type(network).__name__}, expected a network",
            "Set settings.network_key to where the configuration defines it.",
            file=file,
        )
    return network


def download_bundle(name: str, target: Path) -> Path:
    """Fetch a bundle of MONAI's model zoo, which needs the network.

    Raises:
        OSError: it cannot be fetched.
    """
    from monai.bundle import download

    try:
        download(name=name, bundle_dir=str(target), progress=False)
    except Exception as error:  # of whichever library speaks HTTP
        why = (str(error).splitlines() or [""])[0]
        raise OSError(
            f"the bundle {name!r} cannot be fetched from MONAI's model zoo ({type(error).__name__}: {why}): the "
            "zoo needs the network. Check the name, or give a folder with the bundle."
        ) from error
    found = target / name
    if not found.is_dir():
        raise OSError(f"MONAI's model zoo gave no bundle {name!r}: check the name.")
    return found
