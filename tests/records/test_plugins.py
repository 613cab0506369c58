"""Objects by name: which are found, and what is refused with which words."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from vlmalign.records import plugins
from vlmalign.records.plugins import Plugin, Plugins

GROUP = "vlmalign.tests"


@pytest.fixture
def tools():
    """Two built-in objects; a name of theirs that a package offers too is refused."""
    return Plugins("tool", GROUP, {"hammer": len, "saw": sum})


@pytest.fixture
def installed(monkeypatch):
    """Pretend that packages offer (name, place) in the group."""

    def offer(*offers, group=GROUP):
        points = EntryPoints(EntryPoint(name, place, group) for name, place in offers)
        monkeypatch.setattr(plugins.metadata, "entry_points", lambda **where: points.select(**where))

    return offer


def test_ours_are_found_by_name(tools):
    assert tools.names() == ["hammer", "saw"]
    assert tools.get("saw") == Plugin(sum, "built in")


def test_a_package_adds_one_and_the_names_are_sorted(tools, installed):
    installed(("plane", "math:floor"), ("drill", "math:ceil"))
    assert tools.names() == ["drill", "hammer", "plane", "saw"]
    found = tools.get("drill")
    assert found.origin == "math:ceil" and found.object(0.5) == 1
    assert [point.name for point in tools.offered()] == ["drill", "plane"]


def test_what_is_offered_to_another_group_does_not_count(tools, installed):
    installed(("drill", "math:ceil"), group="another.group")
    assert tools.names() == ["hammer", "saw"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hamer", "unknown tool 'hamer'. Did you mean 'hammer'?"),
        ("dril", "unknown tool 'dril'. Did you mean 'drill'?"),
        ("xyz", "unknown tool 'xyz'. Known: drill, hammer, saw."),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_or_all_known(tools, installed, name, message):
    installed(("drill", "math:ceil"))
    with pytest.raises(ValueError) as error:
        tools.get(name)
    assert str(error.value) == message


def test_two_packages_cannot_use_one_name_but_the_other_names_work(tools, installed):
    installed(("drill", "math:ceil"), ("drill", "math:floor"))
    with pytest.raises(ValueError) as error:
        tools.get("drill")
    assert str(error.value) == (
        "tool 'drill' is defined more than once (math:ceil, math:floor): names must be unique. "
        "Uninstall one package, or rename its entry point."
    )
    assert tools.get("saw").object is sum
    assert tools.names() == ["drill", "hammer", "saw"]


def test_a_package_that_takes_a_name_of_ours_is_refused_or_passed_over(tools, installed):
    installed(("saw", "math:ceil"))
    with pytest.raises(ValueError, match=r"'saw' is defined more than once \(math:ceil, built in\)"):
        tools.get("saw")
    assert Plugins("tool", GROUP, tools.ours, ours_first=True).get("saw") == Plugin(sum, "built in")


@pytest.mark.parametrize(
    ("place", "error_name"), [("no_such_module:f", "ModuleNotFoundError"), ("math:no_such", "AttributeError")]
)
def test_an_entry_point_that_cannot_be_loaded_is_named_with_its_error(tools, installed, place, error_name):
    installed(("drill", place))
    with pytest.raises(ValueError, match=f"tool 'drill' cannot be loaded from {place} .{error_name}: .*uninstall"):
        tools.get("drill")
