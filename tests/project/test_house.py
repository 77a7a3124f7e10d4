"""How the library is built, read from its files: who may import what, how long things are, where their tests lie."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from nbhelpers.runs import parameters

PACKAGE = parameters.ROOT / "nbhelpers"
TESTS = parameters.ROOT / "tests"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
PACKAGES = sorted(path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
# What each stage's notebook may import of the stages' packages; every other package is shared.
OWN = {
    "01_prompting": "prompting",
    "02_cropping": "cropping",
    "03_training": "training",
    "04_external_validation": "validation",
    "05_interpretability": "interpretability",
    "06_image_editing": "editing",
    "07_segmentation": "segmentation",
}
LONGEST_MODULE, LONGEST_FUNCTION = 450, 80
MAY_BE_LONGER = {"simulator/anatomy"}  # one body in one place


def named(path: Path) -> str:
    """`package/module` of a module's file."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(code: ast.AST) -> set[str]:
    """Whole names of what some code imports: of `from a import b` both `a` and `a.b`, since b may be a module."""
    found = set()
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def file_of_tests(module: str) -> Path:
    """Where the tests of a module lie; those of the few at the top lie with the tests of the whole."""
    package, _, name = module.rpartition("/")
    return TESTS / (package or "project") / f"test_{name.strip('_')}.py"


def faults_of_imports(code: str, stage: str) -> list[str]:
    """What is wrong with the imports of a notebook's code."""
    others = {f"nbhelpers.{name}" for name in (*OWN.values(), "reporting", "pipeline")} - {f"nbhelpers.{OWN[stage]}"}
    lines = [node for node in ast.parse(code).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    lines = [node for node in lines if ast.unparse(node).split()[1].split(".")[0] == "nbhelpers"]
    modules = [node.module or "" for node in lines if isinstance(node, ast.ImportFrom)]
    faults = [f"{name} belongs to another stage" for name in sorted(imported_modules(ast.Module(lines, [])) & others)]
    if len(modules) < len(lines):
        faults.append("an import of another form than `from nbhelpers.<package> import <module>`")
    if any(alias.asname for node in lines for alias in node.names):
        faults.append("a module under another name")
    if not modules or modules[0] != "nbhelpers" or f"nbhelpers.{OWN[stage]}" not in modules:
        faults.append("the first line imports what is shared, a later one what is the stage's own")
    names = {alias.name for node in lines for alias in node.names}
    bound = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    stored = {
        node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    faults += [f"{name} is a module and a variable" for name in sorted(names & stored)]
    faults += [f"{name} is imported and not used" for name in sorted(names - bound)]
    return faults


def code_of(stage: str) -> str:
    import json

    cells = json.loads((parameters.NOTEBOOKS / f"{stage}.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("stage", parameters.STAGES)
def test_a_notebook_imports_what_is_shared_and_its_own_package_alone(stage: str) -> None:
    assert faults_of_imports(code_of(stage), stage) == []


@pytest.mark.parametrize(
    "code",
    [
        "from nbhelpers import runs\nfrom nbhelpers.training import train\nruns, train",
        "from nbhelpers import runs, training\nfrom nbhelpers.cropping import crop\nruns, training, crop",
        "from nbhelpers import runs\nfrom nbhelpers.cropping import crop\nfrom nbhelpers.pipeline import plan\n"
        "runs, crop, plan",
        "from nbhelpers import runs\nfrom nbhelpers.cropping import crop as c\nruns, c",
        "import nbhelpers.runs\nfrom nbhelpers.cropping import crop\ncrop",
        "from nbhelpers.cropping import crop\nfrom nbhelpers import runs\nruns, crop",
        "from nbhelpers import runs\nfrom nbhelpers.cropping import crop\ncrop = runs",
        "from nbhelpers import runs\nfrom nbhelpers.cropping import crop\ncrop: str = 'none'\nruns",
        "from nbhelpers import runs\nfrom nbhelpers.cropping import crop\nruns",
    ],
)
def test_each_wrong_import_of_a_notebook_is_found(code: str) -> None:
    assert faults_of_imports(code, "02_cropping")


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_a_package_is_its_docstring_and_imports_nothing(path: Path) -> None:
    body = tree(path).body
    assert ast.get_docstring(tree(path))
    if path.parent.name not in ("runs", "metrics"):
        assert len(body) == 1


def test_every_module_has_its_test_file() -> None:
    lacking = {named(path) for path in MODULES if not file_of_tests(named(path)).is_file()}
    assert lacking == set()


def test_every_test_file_is_of_a_module_or_of_the_whole() -> None:
    known = {file_of_tests(named(path)) for path in MODULES}
    strange = {path for path in TESTS.rglob("test_*.py") if path.parent.name not in ("project", "cluster")} - known
    assert {path.relative_to(TESTS).as_posix() for path in strange} == set()


def test_a_test_imports_no_other_tests_module() -> None:
    files = sorted(TESTS.rglob("*.py"))
    found = {path.name: {name for name in imported_modules(tree(path)) if "test_" in name} for path in files}
    assert {name: modules for name, modules in found.items() if modules} == {}


def test_modules_and_functions_are_short_enough_to_read() -> None:
    long = set()
    for path in MODULES:
        if named(path) in MAY_BE_LONGER:
            continue
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_MODULE:
            long.add(named(path))
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                long |= {f"{named(path)}: {node.name}"} if lines > LONGEST_FUNCTION else set()
    assert long == set()
