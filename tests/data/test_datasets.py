import pytest

from vlmalign.data import DataSource, ExampleDataset, prompt_cache
from vlmalign.records import DataError, Demonstration


@pytest.fixture
def folder(build_folder, records):
    return build_folder(
        "d", "demonstration", lambda b: [records["demonstration"](b, i, level=i) for i in range(3)]
    )


def load(processor, *sources, **settings):
    return ExampleDataset([DataSource(**s) for s in sources], Demonstration, processor, **settings)


def test_repeats_follow_one_another_and_weights_multiply(processor, folder):
    data = load(processor, {"path": folder, "repeat": 2, "weight": 0.5})
    assert len(data) == 6
    assert data[0].id == data[3].id
    assert data[0].weight == 0.5


def test_ids_tell_records_of_different_folders_apart(processor, folder, build_folder, records):
    other = build_folder("e", "demonstration", lambda b: [records["demonstration"](b, 0, "Another text.")])
    data = load(processor, {"path": folder}, {"path": other})
    assert data.records[0].id == data.records[3].id
    assert data.example(0).id != data.example(3).id


def test_a_too_long_record_is_refused_by_name_and_never_cut(processor, folder):
    data = load(processor, {"path": folder}, max_length=12)
    with pytest.raises(DataError, match=rf"{folder}, record 'd0'.*max_length is 12.*nothing is truncated"):
        data.check_all()


def test_a_test_record_is_refused_for_training_and_read_for_evaluation(processor, build_folder, records):
    folder = build_folder("t", "demonstration", lambda b: [records["demonstration"](b, 0, split="test")])
    with pytest.raises(DataError, match="split 'test'"):
        load(processor, {"path": folder})
    assert len(load(processor, {"path": folder}, purpose="evaluation")) == 1


def test_an_empty_folder_is_refused(processor, build_folder):
    folder = build_folder("empty", "demonstration", lambda b: [])
    with pytest.raises(DataError, match="no records"):
        load(processor, {"path": folder})


def test_pixels_are_decoded_once_while_they_fit(processor, folder, monkeypatch):
    decoded = []
    original = prompt_cache.encode_prompt
    monkeypatch.setattr(prompt_cache, "encode_prompt", lambda *a, **k: decoded.append(1) or original(*a, **k))
    for megabytes, expected in ((1, 3), (0, 6)):
        decoded.clear()
        data = load(processor, {"path": folder}, cache_megabytes=megabytes)
        for _ in range(2):
            data.check_all()
        assert len(decoded) == expected


def test_records_about_one_picture_share_its_pixels(processor, build_folder, records):
    folder = build_folder(
        "same", "demonstration", lambda b: [records["demonstration"](b, i, level=5) for i in range(2)]
    )
    data = load(processor, {"path": folder})
    assert data[0].prompt["pixel_values"] is data[1].prompt["pixel_values"]
