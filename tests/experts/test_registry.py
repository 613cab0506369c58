import json
from importlib import metadata

import pytest

from experts import Expert, list_experts, load_expert, read_card
from vlmalign.records import DataError


def test_the_built_in_architecture_is_listed(trained):
    assert ("segmentation", "built in") in {(listing.name, listing.origin) for listing in list_experts()}


def test_trained_experts_below_a_folder_are_listed_with_their_cards(trained):
    (listing,) = list_experts(trained.parent)
    assert listing.folder == trained and listing.card == read_card(trained)
    assert listing.name == listing.card.id


def test_a_loaded_expert_keeps_the_protocol(trained):
    assert isinstance(load_expert(trained), Expert)


def test_a_missing_folder_and_a_folder_without_expert_are_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        list_experts(tmp_path / "none")
    with pytest.raises(DataError, match=r"expert\.json is missing"):
        load_expert(tmp_path)


def write_card(folder, trained, architecture):
    content = json.loads((trained / "expert.json").read_text())
    content["card"]["architecture"] = architecture
    (folder / "expert.json").write_text(json.dumps(content))


def test_an_architecture_that_nothing_loads_is_refused_with_what_is_known(trained, tmp_path):
    write_card(tmp_path, trained, "telepathy")
    with pytest.raises(DataError, match=r"'telepathy' is not installed \(known: .*segmentation"):
        load_expert(tmp_path)


def test_a_user_s_entry_point_is_listed_and_loads(trained, tmp_path, monkeypatch):
    write_card(tmp_path, trained, "folder_name")
    points = metadata.EntryPoints([metadata.EntryPoint("folder_name", "os.path:basename", "vlmalign.experts")])
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    assert [listing.name for listing in list_experts() if listing.origin != "built in"] == ["folder_name"]
    assert load_expert(tmp_path) == tmp_path.name


def test_an_entry_point_that_cannot_be_used_is_listed_with_its_reason(monkeypatch):
    names = {"gone": "no_such_package:load", "segmentation": "os.path:basename", "sound": "os.path:basename"}
    points = metadata.EntryPoints(metadata.EntryPoint(n, v, "vlmalign.experts") for n, v in names.items())
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    problems = {listing.name: listing.problem for listing in list_experts() if listing.origin != "built in"}
    assert "cannot be loaded from no_such_package:load (ModuleNotFoundError" in problems["gone"]
    assert "passed over" in problems["segmentation"]
    assert problems["sound"] == ""


def test_a_damaged_card_is_named(tmp_path):
    (tmp_path / "expert.json").write_text("{")
    with pytest.raises(DataError, match=r"expert\.json is not readable"):
        read_card(tmp_path)
