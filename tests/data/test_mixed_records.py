"""Records with several images, none, and images in earlier turns, from the folder to log-probabilities."""

import numpy as np
import pytest
import torch
from PIL import Image

from vlmalign.data import CasePairs, DataSource, ExampleDataset, collate, collate_pairs, pad_token
from vlmalign.models import batch_flops, forward_responses, sequence_logps
from vlmalign.models.family import PROVED, model_type
from vlmalign.records import DataError, DatasetBuild, Demonstration, Preference, assistant, user

PROMPTS = {  # turns, and sizes of images
    "one": ((user("Hi?", images=1),), [(28, 28)]),
    "two": ((user("Which?", images=2),), [(28, 28), (50, 28)]),
    "earlier": ((user("See", images=1), assistant("Yes."), user("And?")), [(28, 56)]),
    "text": ((user("Why so?"),), []),
}


def write(path, kind, make):
    """A record per prompt; `make` turns the fields that all have into a record."""
    with DatasetBuild(path, kind, {"kind": kind}) as build:
        for i, (name, (turns, sizes)) in enumerate(PROMPTS.items()):
            pixels = [
                np.random.default_rng(9 * i + n).integers(0, 255, (h, w, 3)) for n, (w, h) in enumerate(sizes)
            ]
            images = tuple(build.add_image(Image.fromarray(each.astype(np.uint8))) for each in pixels)
            build.commit(
                name, list(make(id=name, case_id=name, group_id="g", split="train", images=images, prompt=turns))
            )
    return DataSource(path=str(path))


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory):
    return write(
        tmp_path_factory.mktemp("mixed") / "d", "demonstration",
        lambda **own: [Demonstration(response=(assistant("Two of " + own["id"]),), source="labels", **own)],
    )  # fmt: skip


@pytest.fixture(scope="session")
def preferences(tmp_path_factory):
    def pairs(**own):
        answers = [(assistant(text),) for text in ("Yes, it is.", "No.", "Perhaps")]
        for n, (better, worse) in enumerate(((0, 1), (1, 2), (0, 2))):
            fields = {**own, "id": f"{own['id']}-{n}", "chosen": answers[better], "rejected": answers[worse]}
            yield Preference(source="expert", **fields)

    return write(tmp_path_factory.mktemp("mixed") / "p", "preference", pairs)


def records_of(family, source, kind):
    """The dataset; of a family that refuses prompts without an image, what it says, and the other records."""
    data = ExampleDataset([source], kind, family.processor)
    if PROVED[model_type(family.model)].refuses:
        with pytest.raises(DataError, match=rf"{source.path}, record 'text.*refuses the prompt with 0 images"):
            data.check_all()
        return data, [n for n, record in enumerate(data.records) if record.images]
    data.check_all()
    return data, list(range(len(data.records)))


def logps_of(family, batch):
    with torch.no_grad():
        output = forward_responses(family.model, batch)
    assert batch_flops(family.model, batch, training=True) > 0
    return sequence_logps(output, batch)


def test_demonstrations_of_a_mixed_batch_are_as_probable_as_alone(family, demonstrations):
    data, numbers = records_of(family, demonstrations, Demonstration)
    pad = pad_token(family.processor)
    examples = [data.example(number) for number in numbers]
    alone = torch.cat([logps_of(family, collate([example], pad)["batch"]) for example in examples])
    for order in (slice(None), slice(None, None, -1)):  # text alone last, and first
        found = logps_of(family, collate(examples[order], pad)["batch"])
        torch.testing.assert_close(found, alone.flip(0) if order.step else alone, atol=1e-4, rtol=0)


def test_all_pairs_of_a_mixed_batch_are_as_probable_as_alone(family, preferences):
    data, numbers = records_of(family, preferences, Preference)
    pad = pad_token(family.processor)
    pairs = CasePairs(data, grouped=True)
    items = [pairs.item(group) for group in pairs.groups if group[0] in numbers]
    batch = collate_pairs(items, pad)
    found = logps_of(family, batch["batch"])[batch["pairs"]]
    alone = []
    for number in numbers:
        alone.append(logps_of(family, collate([data.example(number)], pad)["batch"]))
    torch.testing.assert_close(found, torch.stack(alone), atol=1e-4, rtol=0)
