import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RepositoryNotFoundError

from vlmalign.models import hub


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.check_on_hub.cache_clear()
    yield
    hub.check_on_hub.cache_clear()


@pytest.fixture
def hub_says(monkeypatch):
    asked = []

    def answer(error=None):
        def model_info(api, name, timeout):
            asked.append(name)
            if error is not None:
                raise error

        monkeypatch.setattr(HfApi, "model_info", model_info)
        return asked

    return answer


def test_a_model_on_the_hub_is_asked_for_once(hub_says):
    asked = hub_says()
    hub.check_on_hub("owner/name")
    hub.check_on_hub("owner/name")
    assert asked == ["owner/name"]


def test_a_name_that_the_hub_does_not_know_is_refused(hub_says):
    hub_says(RepositoryNotFoundError.__new__(RepositoryNotFoundError))
    with pytest.raises(FileNotFoundError, match="owner/nam: no such folder here, and the Hub has no such model"):
        hub.check_on_hub("owner/nam")


def test_a_name_that_cannot_be_one_of_the_hub_is_refused(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FileNotFoundError, match="the Hub has no such model"):
        hub.check_on_hub("no such/model!")


def test_a_model_fetched_before_is_used_where_the_hub_cannot_be_reached(hub_says, monkeypatch):
    hub_says(ConnectionError())
    with pytest.raises(FileNotFoundError, match="cannot be reached"):
        hub.check_on_hub("owner/name")
    assert not constants.HF_HUB_OFFLINE
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda name, file: "/cache/config.json")
    hub.check_on_hub("owner/name")
    assert constants.HF_HUB_OFFLINE


def test_offline_only_a_model_fetched_before_is_let_pass(hub_says, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = hub_says()
    with pytest.raises(FileNotFoundError, match="HF_HUB_OFFLINE is set"):
        hub.check_on_hub("owner/name")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda name, file: "/cache/config.json")
    hub.check_on_hub("owner/name")
    assert asked == []
