from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from data_builders.sources import build_bccd, build_smear, get_source, list_sources
from data_builders.sources.registry import BUILT_IN
from vlmalign.records import plugins


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    points: list[EntryPoint] = []

    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        return [point for point in points if point.group == group and name in (None, point.name)]

    monkeypatch.setattr(plugins.metadata, "entry_points", entry_points)
    return points


def test_built_in_sources_are_found_by_name(installed: list[EntryPoint]) -> None:
    assert list_sources() == sorted(BUILT_IN) and {"bccd", "kermany", "smear"} <= set(BUILT_IN)
    assert get_source("smear") is build_smear
    assert get_source("bccd") is build_bccd


def test_an_installed_package_adds_a_source(installed: list[EntryPoint]) -> None:
    installed.append(EntryPoint("mine", "os.path:join", "vlmalign.sources"))
    installed.append(EntryPoint("other", "os.path:join", "another.group"))
    assert list_sources() == sorted([*BUILT_IN, "mine"])
    assert get_source("mine").__name__ == "join"  # type: ignore[attr-defined]


def test_an_unknown_name_lists_the_known_ones(installed: list[EntryPoint]) -> None:
    with pytest.raises(ValueError, match="unknown source 'smeer'. Did you mean 'smear'"):
        get_source("smeer")


def test_a_package_cannot_replace_a_built_in_source(installed: list[EntryPoint]) -> None:
    installed.append(EntryPoint("smear", "os.path:join", "vlmalign.sources"))
    with pytest.raises(ValueError, match=r"more than once \(os.path:join, built in\)"):
        get_source("smear")


def test_two_packages_cannot_use_one_name(installed: list[EntryPoint]) -> None:
    installed.extend(EntryPoint("mine", value, "vlmalign.sources") for value in ("os.path:join", "os.path:split"))
    with pytest.raises(ValueError, match="more than once"):
        get_source("mine")


@pytest.mark.parametrize(
    ("value", "message"), [("no_such_module:f", "cannot be loaded"), ("os:sep", "is a str: a function")]
)
def test_a_broken_entry_point_is_named(installed: list[EntryPoint], value: str, message: str) -> None:
    installed.append(EntryPoint("mine", value, "vlmalign.sources"))
    with pytest.raises(ValueError, match=message):
        get_source("mine")
