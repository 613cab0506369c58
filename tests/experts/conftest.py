"""Toy discs: grey fields with large red and small blue discs, whose masks and counts are known."""

from pathlib import Path

import numpy as np
import pytest
import yaml
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


def build_blobs(folder: Path, *, groups: int = 18, per_group: int = 3, uncertain: int = 0, seed: int = 0) -> Path:
    """Grey noise with a bright blob where `blob` is present; `uncertain` images at the end say nothing."""
    rng = np.random.default_rng(seed)
    with DatasetBuild(folder, "case", {"groups": groups, "seed": seed, "uncertain": uncertain}) as build:
        for number in range(groups * per_group):
            present = bool(rng.integers(2))
            pixels = rng.normal(90, 25, (32, 32))
            if present:
                y, x = rng.integers(4, 20, 2)
                pixels[y : y + 9, x : x + 9] += 90
            image = build.add_image(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), modality="xray")
            case_id = f"blob-{number}"
            status = (
                "uncertain" if number >= groups * per_group - uncertain else "present" if present else "absent"
            )
            finding = Finding(
                id=f"{case_id}/blob", image=image, concept="blob", status=status, expert="toy@1", case_id=case_id
            )
            case = Case(
                id=case_id,
                images=(image,),
                messages=(user("Describe.", images=1),),
                reference=Reference(findings=(finding,)),
                domain="toy",
                group_id=f"group-{number % groups}",
                group_kind="patient",
            )
            build.commit(case_id, [case])
    return folder


@pytest.fixture(scope="session")
def blobs(tmp_path_factory):
    return build_blobs(tmp_path_factory.mktemp("blobs") / "cases")


@pytest.fixture(scope="session")
def make_blobs():
    return build_blobs


@pytest.fixture(scope="session")
def blob_expert(blobs, tmp_path_factory):
    from experts.classifier_config import ClassifierConfig
    from experts.classifier_training import train_classifier

    config = ClassifierConfig(
        network="test_resnet", size=32, members=2, epochs=4, batch_size=8, learning_rate=3e-3
    )
    return train_classifier(blobs, tmp_path_factory.mktemp("blob_expert") / "toy", config=config)


@pytest.fixture
def adopt_from(tmp_path):
    """Adopts from settings written to a file."""
    from experts.adoption import adopt

    def make(architecture, settings, files=None, *, name="adopted", **options):
        card = {"name": "toy", "modality": "xray", "domain": "toy"}
        content = {"architecture": architecture, "card": card, "settings": settings, "files": files or {}}
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content))
        return adopt(file, tmp_path / name, **options)

    return make
