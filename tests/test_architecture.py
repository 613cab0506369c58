"""The architecture is a test: who may import whom, and what stays light."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("vlmalign", "experts", "data_builders")

# importing package -> the packages of ours that it may import, besides itself
RULES: dict[str, set[str]] = {
    "vlmalign.records": set(),
    "vlmalign.losses": set(),
    "vlmalign.recipes": set(),
    "vlmalign.clinical": {"vlmalign.records"},
    "vlmalign.models": {"vlmalign.records"},
    "vlmalign.data": {"vlmalign.records", "vlmalign.models"},
    "vlmalign.rewards": {
        "vlmalign.records", "vlmalign.clinical", "vlmalign.models", "vlmalign.data", "vlmalign.losses",
    },
    "vlmalign.training": {
        "vlmalign.records", "vlmalign.data", "vlmalign.models", "vlmalign.losses", "vlmalign.rewards",
    },
    "vlmalign.evaluation": {
        "vlmalign.records", "vlmalign.clinical", "vlmalign.data", "vlmalign.models", "vlmalign.rewards",
    },
    "vlmalign.reader_study": {"vlmalign.records", "vlmalign.evaluation"},
    "experts": {"vlmalign.records"},
    "data_builders": {"vlmalign.records", "vlmalign.clinical"},
    "vlmalign.cli": set(OURS),
    "vlmalign.__main__": {"vlmalign.cli"},
}  # fmt: skip


def package_of(module: str) -> str | None:
    """The rule's package that a module of ours belongs to, or None for foreign modules."""
    parts = module.split(".")
    if parts[0] not in OURS:
        return None
    return ".".join(parts[:2]) if parts[0] == "vlmalign" else parts[0]


def imports(path: Path) -> list[tuple[int, str]]:
    """Every absolute import of a file, also those inside functions; relative ones are refused."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "vlmalign":
                found += [(node.lineno, f"vlmalign.{alias.name}") for alias in node.names]
            elif node.module:
                found.append((node.lineno, node.module))
    return found


def source_files() -> list[Path]:
    return sorted(p for name in OURS for p in (ROOT / name).rglob("*.py"))


def test_no_module_imports_what_the_design_forbids():
    broken = []
    for path in source_files():
        here = package_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        allowed = RULES.get(here or "", set()) | {here, "vlmalign.__version__"}
        if here == "vlmalign.cli":
            continue
        for line, module in imports(path):
            target = package_of(module)
            if target is not None and target not in allowed:
                broken.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {target}")
    assert not broken, "\n".join(broken)


def test_every_package_has_a_rule():
    packages = {f"vlmalign.{p.name}" for p in (ROOT / "vlmalign").iterdir() if (p / "__init__.py").exists()}
    assert packages <= set(RULES)


def test_the_rule_checker_sees_imports_inside_functions(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("def f():\n    from vlmalign.training import sft\n")
    assert imports(file) == [(2, "vlmalign.training")]


def all_modules() -> list[str]:
    names = []
    for name in OURS:
        package = importlib.import_module(name)
        names += [m.name for m in pkgutil.walk_packages(package.__path__, name + ".")]
    return sorted(names)


def test_every_module_imports():
    for name in all_modules():
        if not name.endswith("__main__"):
            importlib.import_module(name)


@pytest.mark.parametrize("module", ["vlmalign.records", "vlmalign.clinical", "vlmalign.data.formats"])
def test_contracts_clinical_logic_and_foreign_formats_load_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_helps_without_loading_torch():
    code = "import sys, vlmalign.cli.main; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_experts_are_listed_and_their_cards_read_without_loading_torch():
    code = (
        "import sys; from experts import list_experts, read_card; list_experts(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", ["experts", "vlmalign.data"])
def test_every_lazy_public_name_is_found_where_it_is_said_to_be_whatever_was_imported_before(package):
    found = importlib.import_module(package)
    for _, name, _ in pkgutil.iter_modules(found.__path__):  # a module is an attribute once it is imported
        importlib.import_module(f"{package}.{name}")
    assert all(getattr(found, name).__name__ == name for name in found.__all__)
    assert all(callable(getattr(found, name)) for name in found.__all__)


def test_no_module_is_longer_than_400_lines():
    long = {str(p.relative_to(ROOT)): n for p in source_files() if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_nothing_is_unpickled_without_weights_only():
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                flags = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert flags.get("weights_only") == "True", f"{path}:{node.lineno}"


def test_every_folder_that_is_built_says_where_its_data_may_be_sent():
    """`data_use` is inherited by hand, and the default is the laxest: nobody may forget it."""
    silent = []
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "DatasetBuild":
                if "data_use" not in {keyword.arg for keyword in node.keywords}:
                    silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not silent


def test_the_benchmarks_find_all_that_they_import():
    """They are not collected, so that nothing else would notice a name that moved."""
    script = ROOT / "tests" / "benchmarks" / "run.py"
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
