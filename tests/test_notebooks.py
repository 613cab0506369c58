"""Every notebook runs from top to bottom."""

from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("VLMALIGN_QUIET", "1")
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=1200, startup_timeout=300, resources=where).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_the_notebook_imports_is_there(path):
    """In a moment, without running it: a function that only a notebook calls is easily deleted."""
    import ast
    from importlib import import_module

    import nbformat

    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    found = [node for cell in cells for node in ast.walk(compile(cell, str(path), "exec", flags))]
    imports = [node for node in found if isinstance(node, ast.ImportFrom) and node.module]
    own = [node for node in imports if node.module.split(".")[0] in ("vlmalign", "data_builders", "experts")]
    assert own
    for node in own:
        module = import_module(node.module)
        for name in node.names:
            assert hasattr(module, name.name), f"{node.module} has no {name.name}"
