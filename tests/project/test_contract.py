"""What every notebook keeps to, read from its file: nothing is executed here."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbhelpers.runs import parameters

NOTEBOOKS = [parameters.NOTEBOOKS / f"{stage}.ipynb" for stage in parameters.STAGES]
FIGURES = ("figure_1", "figure_2", "figure_3", "figure_4", "figure_5", "figure_6")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code_cells(path: Path) -> list[str]:
    return [source(cell) for cell in read(path)["cells"] if cell["cell_type"] == "code"]


def is_parameters(cell: dict[str, Any]) -> bool:
    return "parameters" in cell["metadata"].get("tags", [])


def faults_of_code(code: str) -> list[str]:
    """What a code cell must not hold, by name; shared with the test that shows that each fault is found."""
    if re.search(r"^\s*[!%]", code, flags=re.MULTILINE):
        return ["shell or magic command"]
    found = []
    forbidden = {
        ast.FunctionDef: "def",
        ast.AsyncFunctionDef: "def",
        ast.ClassDef: "class",
        ast.Lambda: "lambda",
        ast.While: "while",
        ast.For: "for",
        ast.Try: "try",
        ast.Global: "global",
    }
    for node in ast.walk(ast.parse(code)):
        found += [name for kind, name in forbidden.items() if isinstance(node, kind)]
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.path", "os.environ", "os.chdir", "os.system"):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.match(r"(/(?!/)\w|~|[A-Za-z]:[\\/])", node.value) or ".." in Path(node.value).parts:
                found.append(f"absolute path or a way up: {node.value}")
            if re.search(r"https?://", node.value):
                found.append(f"address: {node.value}")
    return found


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    return 1",
        "class A:\n    pass",
        "f = lambda x: x",
        "for i in range(3):\n    print(i)",
        "while True:\n    break",
        "import sys\nsys.path.append('x')",
        "!pip install torch",
        "%matplotlib inline",
        "x = open('/home/me/x.csv')",
        "x = '~/data'",
        "x = '../data/x.csv'",
        "import os\nos.environ['A'] = 'b'",
    ],
)
def test_each_forbidden_thing_is_found(code: str) -> None:
    assert faults_of_code(code)


def test_the_folder_holds_the_notebooks_and_no_other() -> None:
    assert sorted(path.name for path in parameters.NOTEBOOKS.glob("*.ipynb")) == [path.name for path in NOTEBOOKS]


@each_notebook
def test_cells_hold_no_logic(path: Path) -> None:
    assert {code: faults for code in code_cells(path) if (faults := faults_of_code(code))} == {}


@each_notebook
def test_cells_have_15_lines_at_most(path: Path) -> None:
    cells = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code" and not is_parameters(cell)]
    assert [source(cell) for cell in cells if len(source(cell).splitlines()) > 15] == []


@each_notebook
def test_committed_without_outputs_and_for_the_kernel_python3(path: Path) -> None:
    notebook = read(path)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None
        assert "papermill" not in cell["metadata"] and "execution" not in cell["metadata"]
    assert "papermill" not in notebook["metadata"] and "widgets" not in notebook["metadata"]


@each_notebook
def test_written_as_jupyterlab_writes_it_so_that_saving_changes_nothing(path: Path) -> None:
    assert path.read_text() == nbformat.writes(nbformat.read(path, as_version=4)) + "\n"


@each_notebook
def test_cell_ids_are_there_and_unique(path: Path) -> None:
    ids = [cell["id"] for cell in read(path)["cells"]]
    assert len(set(ids)) == len(ids)


@each_notebook
def test_opens_with_a_question_and_a_table_of_reads_and_writes(path: Path) -> None:
    first = read(path)["cells"][0]
    assert first["cell_type"] == "markdown"
    title = source(first).splitlines()[0]
    assert title.startswith("# ") and title.rstrip().endswith("?"), title
    rows = [line.split("|")[1].strip() for line in source(first).splitlines() if line.startswith("|")]
    assert any(row.startswith("reads") for row in rows), rows
    assert any(row.startswith("writes") for row in rows), rows
    assert any(row.startswith("time") for row in rows), rows


@each_notebook
def test_closes_with_what_it_shows_and_what_it_does_not(path: Path) -> None:
    prose = [source(cell) for cell in read(path)["cells"] if cell["cell_type"] == "markdown"]
    assert re.search(r"\bnot\b", prose[-1]) and re.search(r"[Nn]ext|index\.html", prose[-1]), prose[-1]
    assert "stage.close(" in code_cells(path)[-1]


@each_notebook
def test_prose_comes_before_each_result(path: Path) -> None:
    # Two code cells in a row are allowed for one thing in two steps; three would be a script.
    kinds = "".join(cell["cell_type"][0] for cell in read(path)["cells"])
    assert kinds.startswith("mccm"), "title, parameters, imports, then prose"
    assert "ccc" not in kinds


@each_notebook
def test_headings_number_one_title_and_sections(path: Path) -> None:
    prose = [source(cell) for cell in read(path)["cells"] if cell["cell_type"] == "markdown"]
    headings = [line for text in prose for line in text.splitlines() if re.match(r"#{1,6} ", line)]
    assert sum(line.startswith("# ") for line in headings) == 1
    assert sum(line.startswith("## ") for line in headings) >= 3


@each_notebook
def test_exactly_one_parameters_cell_which_is_the_second(path: Path) -> None:
    assert [number for number, cell in enumerate(read(path)["cells"]) if is_parameters(cell)] == [1]


@each_notebook
def test_every_parameter_is_typed_documented_and_of_its_own_type(path: Path) -> None:
    declared = parameters.declared(path)
    assert {"run", "seed"} <= set(declared)
    for name, declaration in declared.items():
        assert len(declaration.help) >= 8, f"{name} has no help"
        assert parameters.fault(name, declaration.default, declaration, path.name) is None


@each_notebook
def test_every_declared_parameter_is_used_by_its_notebook(path: Path) -> None:
    rest = "\n".join(
        source(cell) for cell in read(path)["cells"] if cell["cell_type"] == "code" and not is_parameters(cell)
    )
    used = {node.id for node in ast.walk(ast.parse(rest)) if isinstance(node, ast.Name)}
    # Given on as a whole, the parameters are read by the library; open_stage itself reads the first few.
    if "stage.parameters" in rest:
        return
    assert set(parameters.declared(path)) - used - {"run", parameters.FILE, "seed", "device", "threads"} == set()


def test_every_notebook_takes_a_parameter_file_and_what_is_for_one_paid_source_comes_last() -> None:
    for path in NOTEBOOKS:
        names = list(parameters.declared(path))
        assert names[:2] == ["run", parameters.FILE]
        paid = [name.startswith("gemini_") for name in names]
        assert paid == sorted(paid), path.stem


def test_a_name_is_declared_alike_wherever_it_is_declared() -> None:
    for name, declarations in parameters.all_declared().items():
        assert len({(d.annotation, repr(d.default), d.help) for d in declarations}) == 1, (
            name,
            [(d.notebook, d.annotation, d.default, d.help) for d in declarations],
        )


def test_no_parameter_is_a_secret() -> None:
    assert [name for name in parameters.all_declared() if re.search(r"key|token|secret|password", name)] == []


def imported(tree: ast.AST) -> dict[str, Any]:
    """Names that a notebook binds to the library's modules or their contents."""
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nbhelpers":
            for alias in node.names:
                module = importlib.import_module(node.module)
                if not hasattr(module, alias.name):
                    module = importlib.import_module(f"{node.module}.{alias.name}")
                    names[alias.asname or alias.name] = module
                else:
                    names[alias.asname or alias.name] = getattr(module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "nbhelpers":
                    names[alias.asname or alias.name.split(".")[0]] = importlib.import_module(alias.name)
    return names


def resolve(node: ast.expr, names: dict[str, Any]) -> Any:
    """The library's object that an expression names, or None when it is none of the library's."""
    match node:
        case ast.Name(id=name):
            return names.get(name)
        case ast.Attribute(value=value, attr=attribute):
            owner = resolve(value, names)
            return None if owner is None else getattr(owner, attribute)
    return None


def unbound_calls(code: str) -> list[str]:
    """Calls of the library that its real signatures refuse, and names that it does not have."""
    tree = ast.parse(code)
    names = imported(tree)
    names["stage"] = importlib.import_module("nbhelpers.runs.stage").Stage
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            try:
                resolve(node, names)
            except AttributeError as error:
                # What a stage holds is set when it is made, so its class does not show it.
                if "type object 'Stage'" not in str(error):
                    faults.append(f"{ast.unparse(node)}: {error}")
        if not isinstance(node, ast.Call):
            continue
        try:
            function = resolve(node.func, names)
        except AttributeError:
            continue
        if function is None or any(isinstance(argument, ast.Starred) for argument in node.args):
            continue
        if any(keyword.arg is None for keyword in node.keywords):
            continue
        is_method = ast.unparse(node.func).startswith("stage.")
        arguments: list[Any] = [None] * (len(node.args) + is_method)
        try:
            inspect.signature(function).bind(
                *arguments, **{keyword.arg: None for keyword in node.keywords if keyword.arg}
            )
        except TypeError as error:
            faults.append(f"{ast.unparse(node)}: {error}")
    return faults


@pytest.mark.parametrize(
    "code",
    [
        "from nbhelpers import runs\nruns.open_stage()",
        "from nbhelpers import runs\nruns.open_stage('a', globals(), nonsense=1)",
        "from nbhelpers import runs\nruns.no_such_function()",
        "from nbhelpers.runs.files import inside\ninside('a', 'b', 'c')",
        "from nbhelpers import runs\nstage.input()",
    ],
)
def test_a_call_that_does_not_bind_is_found(code: str) -> None:
    assert unbound_calls(code)


@each_notebook
def test_every_call_of_the_library_binds_to_its_real_signature(path: Path) -> None:
    assert unbound_calls("\n".join(code_cells(path))) == []


@each_notebook
def test_imports_are_the_library_and_the_usual_few(path: Path) -> None:
    allowed = {"nbhelpers", "pandas", "numpy", "matplotlib", "IPython", "pathlib"}
    for code in code_cells(path)[1:]:  # the parameters' cell, whose imports are checked where it is read
        for node in ast.walk(ast.parse(code)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed


def saved_figures(path: Path) -> list[str]:
    calls = [
        node
        for code in code_cells(path)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("stage.save_figure")
    ]
    return [argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)]


@pytest.mark.parametrize("figure", FIGURES)
def test_each_figure_of_the_paper_is_saved_by_exactly_one_notebook(figure: str) -> None:
    assert sum(saved_figures(path).count(figure) for path in NOTEBOOKS) == 1


def test_the_embedded_default_is_what_the_demo_file_says() -> None:
    """Opened by hand, a notebook runs what `make demo` runs."""
    defaults = {name: declarations[0].default for name, declarations in parameters.all_declared().items()}
    demo = parameters.read_yaml(parameters.ROOT / "params" / "demo.yaml")
    # In a run of its own: an afternoon in JupyterLab leaves the demo's results what they are.
    assert demo.pop("run") == "demo" != defaults["run"]
    assert {name: defaults[name] for name in demo} == demo


@pytest.mark.parametrize("path", sorted((parameters.ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_parameter_file_is_valid_and_its_names_are_known(path: Path) -> None:
    from nbhelpers.pipeline import checks, sweep

    values = sweep.load(path)
    assert values["run"] == path.stem
    assert checks.name_faults(values, str(path)) == []


def test_the_parameter_files_of_the_design_are_there() -> None:
    assert {"demo", "kermany", "paper"} <= {path.stem for path in (parameters.ROOT / "params").glob("*.yaml")}
    paper = parameters.load(parameters.ROOT / "params" / "paper.yaml")
    assert (paper["backbone"], paper["init"], paper["image_size"]) == ("resnet50", "imagenet", 224)
    assert paper["datasets"] == ["rsna", "rsna_full", "kermany"]
    assert {name: tuple(arm.values()) for name, arm in paper["arms"].items()} == {
        "cropped": ("gemini", "content"),
        "raw": ("gemini", "none"),
        "roentgen_v2": ("roentgen_v2", "none"),
    }


def test_the_snakefile_runs_each_notebook_of_the_folder() -> None:
    text = (parameters.ROOT / "Snakefile").read_text(encoding="utf-8")
    assert [stage for stage in parameters.STAGES if f'plan.command("{stage}"' not in text] == []


LIBRARY = sorted((parameters.ROOT / "nbhelpers").rglob("*.py"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_every_public_function_has_types_and_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "module docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
        if isinstance(node, ast.FunctionDef):
            assert node.returns is not None, f"{node.name} has no return type"


def test_nothing_that_is_tracked_names_a_private_place() -> None:
    """Neither an absolute home, nor a package index, nor a key, in any text file of the project."""
    import subprocess

    tracked = subprocess.run(["git", "-C", str(parameters.ROOT), "ls-files"], capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    private = re.compile(r"AIza[0-9A-Za-z_-]{35}|sk-[A-Za-z0-9]{20,}|/home/\w+/|/root/|index-url|files\.pythonhosted")
    found = []
    for name in tracked.stdout.splitlines():
        path = parameters.ROOT / name
        if (
            path.suffix in {".png", ".svg"}
            or name in ("tests/project/test_contract.py", "Makefile")
            or not path.is_file()
        ):
            continue
        found += [
            f"{name}: {hit.group(0)}" for hit in private.finditer(path.read_text(encoding="utf-8", errors="ignore"))
        ]
    assert found == []
