from importlib.metadata import EntryPoint, EntryPoints

import pytest

from vlmalign.records import plugins
from vlmalign.rewards import SymbolicReward, list_rewards, load_reward, registry


class Constant:
    needs_images = False

    def __init__(self, value=0.0):
        self.name = f"constant@{value}"

    def score(self, cases, candidates, images=None):
        raise NotImplementedError


@pytest.fixture
def installed(monkeypatch):
    """Pretend that packages offer rewards; load what is handed in instead of importing."""

    def offer(**objects):
        points = EntryPoints(EntryPoint(name, f"pkg:{name}", registry.GROUP) for name in objects)
        monkeypatch.setattr(plugins.metadata, "entry_points", lambda **where: points.select(**where))
        monkeypatch.setattr(EntryPoint, "load", lambda self: objects[self.name])

    return offer


def test_an_installed_reward_is_found_and_gets_its_settings(installed):
    installed(constant=Constant)
    assert "constant" in list_rewards()
    assert load_reward("constant", value=2.0).name == "constant@2.0"


def test_our_names_cannot_be_taken_over(installed):
    installed(symbolic=Constant)
    assert isinstance(load_reward("symbolic", logic="peripheral_smear"), SymbolicReward)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown reward 'scaler'. Did you mean 'scalar'?"):
        load_reward("scaler")


def test_something_that_is_no_reward_is_refused(installed):
    installed(broken=lambda: 3)
    with pytest.raises(ValueError, match="made a int, which has no name"):
        load_reward("broken")
