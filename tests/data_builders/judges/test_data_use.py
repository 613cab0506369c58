"""Nothing leaves that may not: each rule against each kind of endpoint, and no request before the check."""

from pathlib import Path

import pytest

from data_builders.judges.data_use import DataUseError, check_data_use, covers
from data_builders.judges.running import run_judges

CLOUD, HERE, RACK = (
    "https://api.example.com/v1",
    "http://127.0.0.1:8000/v1",
    "http://gpu7.hospital.example:8000/v1",
)
ADDRESSES = {"api.example.com": ["93.184.216.34"], "gpu7.hospital.example": ["10.1.2.3", "fd00::7"]}
ADDRESSES["half.example"] = ["10.1.2.3", "93.184.216.34"]


def allowed(rule, endpoint, approved=()):
    try:
        check_data_use({Path("mimic"): rule}, [None, endpoint], approved, resolve=lambda h: ADDRESSES.get(h, []))
    except DataUseError:
        return False
    return True


@pytest.mark.parametrize(
    "rule, endpoint, approved, may",
    [
        ("open", CLOUD, (), True),
        ("approved_endpoints", CLOUD, (), False),
        ("approved_endpoints", CLOUD, (CLOUD,), True),
        ("approved_endpoints", CLOUD, ("https://api.example.com/v2",), False),
        ("approved_endpoints", HERE, (), True),
        ("approved_endpoints", RACK, (CLOUD,), False),
        ("local_only", None, (), True),
        ("local_only", HERE, (), True),
        ("local_only", "http://localhost:11434/v1", (), True),
        ("local_only", CLOUD, (CLOUD,), False),  # listed or not: a third party
        ("local_only", RACK, (), False),
        ("local_only", RACK, (RACK,), True),
        ("local_only", "http://10.0.0.9/v1", ("http://10.0.0.9/v1",), True),
        ("local_only", "http://half.example/v1", ("http://half.example/v1",), False),
        ("local_only", "http://unknown.example/v1", ("http://unknown.example/v1",), False),
        ("local_only", "http://127.0.0.1.example.com/v1", (), False),
    ],
)  # fmt: skip
def test_each_rule_allows_what_it_says(rule, endpoint, approved, may):
    assert allowed(rule, endpoint, approved) is may


def test_the_strictest_folder_decides_and_the_error_names_it_with_the_remedy():
    folders = {Path("cases"): "open", Path("candidates"): "local_only"}
    with pytest.raises(DataUseError) as refused:
        check_data_use(folders, [HERE, CLOUD])
    assert str(refused.value).startswith(
        f"candidates, field 'data_use': data_use is local_only, and {CLOUD} is not"
    )
    assert "backend: huggingface" in str(refused.value)


@pytest.mark.parametrize(
    "listed, url",
    [
        ("https://a.org/v1", "http://a.org/v1"),
        ("https://a.org/v1", "https://a.org:8443/v1"),
        ("https://a.org/v1", "https://a.org.evil.net/v1"),
        ("https://a.org/v1", "https://a.org@evil.net/v1"),
        ("https://a.org/v1", "https://a.org/v1/../admin"),
        ("https://a.org/v1", "https://a.org/v1/%2e%2e/admin"),
    ],
)  # fmt: skip
def test_an_address_that_only_looks_like_a_listed_one_is_not_covered(listed, url):
    assert not covers(listed, url)


@pytest.mark.parametrize("rule", ["local_only", "approved_endpoints"])
def test_a_run_is_refused_before_the_first_request_and_writes_nothing(configure, inputs, tmp_path, rule):
    written = inputs(n=2, data_use=rule)
    config = configure("https://api.example.com/v1", written=written)
    with pytest.raises(DataUseError, match=rule):
        run_judges(config)
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()


def test_judgements_inherit_the_rule(serve, configure, inputs):
    from vlmalign.records import read_manifest

    run = run_judges(configure(serve(), written=inputs(n=1, data_use="local_only")))
    assert read_manifest(run.out).data_use == "local_only"
