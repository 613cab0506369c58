"""Experts on a local Ray; without the extra `ray` these tests are skipped."""

import sys

import pytest

from experts import run_expert
from vlmalign.records import Finding, RecordFolder


def test_a_run_on_ray_writes_the_bytes_of_the_serial_run(trained, discs, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    serial = run_expert(trained, discs, tmp_path / "serial", batch_size=5)
    spread = run_expert(trained, discs, tmp_path / "ray", batch_size=5, backend="ray", workers=2)
    files = sorted(path.relative_to(serial) for path in serial.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(spread) for path in spread.rglob("*") if path.is_file())
    assert all((serial / file).read_bytes() == (spread / file).read_bytes() for file in files)
    assert len(RecordFolder(spread, Finding)) == 4 * 24


def test_ray_that_is_not_installed_is_named_with_the_remedy(trained, discs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match="pip install .vlmalign.ray.., or use backend 'serial'"):
        run_expert(trained, discs, tmp_path / "out", backend="ray")
    assert not (tmp_path / "out").exists()


def test_workers_of_a_serial_run_are_refused(trained, discs, tmp_path):
    with pytest.raises(ValueError, match="workers is 2 with backend 'serial'"):
        run_expert(trained, discs, tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()
