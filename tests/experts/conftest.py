"""Toy discs: grey fields with large red and small blue discs, whose masks and counts are known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmalign.records import Case, DatasetBuild, Finding, Reference, Region, user

STRUCTURES = {"disc": (6.0, (200, 60, 60)), "dot": (2.5, (60, 60, 200))}


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, dict[str, list]]:
    """A field, its labels, and the boxes of each structure."""
    image = np.full((size, size, 3), 225.0)
    labels = np.zeros((size, size), dtype=np.uint8)
    y, x = np.mgrid[:size, :size] + 0.5
    boxes: dict[str, list] = {name: [] for name in STRUCTURES}
    centres: list[tuple[float, float, float]] = []
    for k, (name, (radius, colour)) in enumerate(STRUCTURES.items(), start=1):
        for _ in range(rng.integers(0, 3)):
            cx, cy = rng.uniform(radius, size - radius, 2)
            if all(np.hypot(cx - a, cy - b) > radius + c + 1 for a, b, c in centres):
                inside = np.hypot(x - cx, y - cy) < radius
                image[inside], labels[inside] = colour, k
                boxes[name].append((cx - radius, cy - radius, cx + radius, cy + radius))
                centres.append((cx, cy, radius))
    image += rng.normal(0, 6, image.shape)
    return image.clip(0, 255).astype(np.uint8), labels, boxes


def build_discs(
    folder: Path, *, groups: int = 8, per_group: int = 3, size: int = 32, boxes: bool = False, seed: int = 0
) -> Path:
    rng = np.random.default_rng(seed)
    with DatasetBuild(folder, "case", {"groups": groups, "seed": seed, "boxes": boxes}) as build:
        for group in range(groups):
            cases = []
            for number in range(per_group):
                pixels, labels, found = draw(rng, size)
                image = build.add_image(Image.fromarray(pixels), modality="light_microscopy")
                mask = build.add_image(Image.fromarray(labels))
                case_id = f"toy-{group}-{number}"
                findings = tuple(
                    Finding(
                        id=f"{case_id}/{name}_count",
                        image=image,
                        concept=f"{name}_count",
                        status="present" if found[name] else "absent",
                        value=float(len(found[name])),
                        unit="1",
                        region=Region(boxes=tuple(found[name])) if boxes else Region(mask=mask.path, label=k),
                        expert="toy@1",
                        case_id=case_id,
                    )
                    for k, name in enumerate(STRUCTURES, start=1)
                )
                cases.append(
                    Case(
                        id=case_id,
                        images=(image,),
                        messages=(user("Describe.", images=1),),
                        reference=Reference(findings=findings),
                        domain="toy",
                        group_id=f"group-{group}",
                        group_kind="slide",
                    )
                )
            build.commit(f"group-{group}", cases)
    return folder


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    return build_discs(tmp_path_factory.mktemp("discs") / "cases")


@pytest.fixture(scope="session")
def disc_boxes(tmp_path_factory):
    return build_discs(tmp_path_factory.mktemp("boxes") / "cases", boxes=True)


@pytest.fixture(scope="session")
def make_discs():
    return build_discs


@pytest.fixture(scope="session")
def quick_config():
    from experts import ExpertConfig, NetworkSettings

    return ExpertConfig(
        name="toy", epochs=8, batch_size=6, learning_rate=0.02, network=NetworkSettings(channels=(8, 16))
    )


@pytest.fixture(scope="session")
def trained(discs, quick_config, tmp_path_factory):
    from experts import train_expert

    return train_expert(discs, tmp_path_factory.mktemp("expert") / "toy", config=quick_config)
