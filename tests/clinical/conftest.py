"""Two logics: the smear that is shipped, and a chest film of 14 findings written as YAML only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from vlmalign.clinical import Logic, load_logic
from vlmalign.clinical import loader as loader_module
from vlmalign.records import Finding, ImageRef

CHEST_FINDINGS = (
    "enlarged mediastinum",
    "cardiomegaly",
    "lung opacity",
    "lung lesion",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural effusion",
    "pleural thickening",
    "fracture",
    "support device",
    "hernia",
)


def slowness() -> float:
    """How many times longer than on the machine of the limits a piece of plain Python takes, here and now."""
    start, table = time.process_time(), {}
    for i in range(40_000):
        word = f"w{i % 997}"
        table[word] = table.get(word, 0) + len(word.split("9"))
    return (time.process_time() - start) / 0.009


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    before, start = slowness(), time.process_time()
    yield
    spent = time.process_time() - start
    assert spent < seconds * max(1.0, before, slowness())


@pytest.fixture
def in_good_time():
    """Limits of processor time, wider on a slower or a shared machine: what must not grow beyond all bounds."""
    return limited


@pytest.fixture(scope="session")
def smear() -> Logic:
    return load_logic("peripheral_smear")


@pytest.fixture
def smear_yaml() -> dict[str, Any]:
    """The shipped file as plain data, to be broken."""
    path = Path(loader_module.__file__).parent / "logic" / "peripheral_smear.yaml"
    return loader_module._Loader(path.read_bytes()).get_data()


@pytest.fixture
def write_logic(tmp_path: Path):
    def write(data: dict[str, Any]) -> Path:
        path = tmp_path / "my_logic.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Logic:
    path = tmp_path_factory.mktemp("chest") / "chest.yaml"
    path.write_text(yaml.safe_dump(chest_yaml(), sort_keys=False), encoding="utf-8")
    return load_logic(path)


def chest_yaml() -> dict[str, Any]:
    """Fourteen findings, one measurement, one derived answer, and rules among them."""
    concepts: dict[str, Any] = {}
    for name in CHEST_FINDINGS:
        concepts[name.replace(" ", "_")] = {
            "name": name,
            "mentions": [name],
            "presence": {"affirmed": "present", "denied": "absent", "bare": True},
            "yes": "present",
            "no": "absent",
            "values": {
                "present": _value(f"There is {name}.", f"The film shows {name}.", opposite="absent"),
                "absent": _value(f"There is no {name}.", f"The film is free of {name}.", opposite="present"),
            },
        }
    concepts["cardiomegaly"]["values"]["present"]["phrases"] = ["heart is enlarged", "enlarged heart"]
    concepts["cardiomegaly"]["values"]["absent"]["phrases"] = ["heart size is normal", "normal heart size"]
    concepts["cardiomegaly"]["measurement"] = {
        "name": "cardiothoracic_ratio",
        "unit": "1",
        "bands": [{"value": "absent", "below": 0.5}, {"value": "present"}],
    }
    concepts["cardiomegaly"]["numbers"] = {
        "forms": ["cardiothoracic ratio is {n}", "cardiothoracic ratio of {n}", "ctr {n}"],
        "sentences": {
            "train": ["The cardiothoracic ratio is {n}."],
            "test": ["There is a cardiothoracic ratio of {n}."],
        },
        "decimals": 2,
    }
    concepts["conclusion"] = {
        "name": "conclusion",
        "mentions": ["conclusion"],
        "derived": [
            {
                "when": {"any": [{name.replace(" ", "_"): "present"} for name in CHEST_FINDINGS]},
                "value": "abnormal",
            },
            {"value": "normal"},
        ],
        "values": {
            "abnormal": _value("The film is abnormal.", "This is an abnormal film.", phrases=["abnormal"]),
            "normal": _value(
                "The film is normal.", "This is a normal film.", phrases=["film is normal", "normal film"]
            ),
        },
    }
    return {
        "schema_version": 1,
        "domain": "chest",
        "title": "A chest film",
        "report_prompts": {"train": ["Describe this film."], "test": ["What does the film show?"]},
        "concepts": concepts,
        "questions": [
            {"concept": key, "train": [f"What of {c['name']}?"], "test": [f"Can you see {c['name']}?"]}
            for key, c in concepts.items()
        ],
        "constraints": [
            {"name": "edema is an opacity", "if": {"edema": "present"}, "then": {"lung_opacity": "present"}},
            {
                "name": "pneumonia shows",
                "if": {"pneumonia": "present"},
                "then": {"any": [{"consolidation": "present"}, {"lung_opacity": "present"}]},
            },
            {"name": "not both", "require": {"not": {"pneumothorax": "present", "hernia": "present"}}},
        ],
        "hedges": {
            "uncertain": {"train": ["The {name} is uncertain."], "test": ["The {name} is unclear."]},
            "not_assessed": {
                "train": ["The {name} cannot be assessed."],
                "test": ["The {name} could not be judged."],
            },
        },
    }


def _value(train: str, test: str, **more: Any) -> dict[str, Any]:
    return {"sentences": {"train": [train], "test": [test]}, **more}


@pytest.fixture
def finding():
    image = ImageRef(path="images/x.png", sha256="0" * 64)

    def make(concept: str, value: float | str | None = None, **fields: Any) -> Finding:
        fields.setdefault("status", "present" if value else "absent")
        return Finding(id=f"f-{concept}", image=image, concept=concept, value=value, expert="cells@1", **fields)

    return make
