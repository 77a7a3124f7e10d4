"""One list of pins: whole, hashed, without an address, and agreeing with what the project asks for."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from nbhelpers.runs.parameters import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRIES = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE))


def pins() -> dict[str, Version]:
    """Pins that hold on this machine."""
    found = {}
    for entry in ENTRIES:
        requirement = Requirement(entry.split("\\")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(dict(default_environment())):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            found[canonicalize_name(requirement.name)] = Version(specifier.version)
    return found


def test_the_lock_names_no_address_and_no_local_file() -> None:
    assert re.findall(r"\S*://\S*|^\s*-e.*|^--.*", LOCK, flags=re.MULTILINE) == []


def test_every_pin_is_exact_and_hashed() -> None:
    assert len(ENTRIES) > 100
    for entry in ENTRIES:
        assert re.match(r"[A-Za-z0-9._-]+==[^ ;\\]+( ; [^\\]+)? \\\n", entry), entry.splitlines()[0]
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


@pytest.mark.parametrize("text", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
def test_each_dependency_is_pinned_to_a_version_that_it_allows(text: str) -> None:
    requirement = Requirement(text)
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_torch_and_torchvision_are_a_pair() -> None:
    # torchvision's own metadata says which torch it was built for; another one fails at its first operator.
    from importlib.metadata import requires, version

    (wanted,) = (Requirement(text) for text in requires("torchvision") or [] if Requirement(text).name == "torch")
    assert pins()["torch"] in wanted.specifier and pins()["torchvision"] == Version(version("torchvision"))


def test_imports_of_the_library_are_dependencies_of_the_project() -> None:
    import ast
    import sys
    from importlib.metadata import packages_distributions

    optional = [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
    declared = {canonicalize_name(Requirement(text).name) for text in [*PROJECT["dependencies"], *optional]}
    providers = packages_distributions()
    missing = set()
    for path in (ROOT / "nbhelpers").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in (name.split(".")[0] for name in names):
                if name in sys.stdlib_module_names or name == "nbhelpers":
                    continue
                offered = {canonicalize_name(provider) for provider in providers.get(name, [name])}
                if not offered & declared:
                    missing.add(f"{path.name}: {name}")
    assert missing == set()


def test_conda_takes_the_same_pins() -> None:
    # It brings Python and make alone, and make installs the lock: a package that conda brought would be another pin.
    import yaml

    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    environment = yaml.safe_load(text)
    line = f"conda env create -f environment.yml && conda run --no-capture-output -n {environment['name']} make demo"
    assert text.splitlines()[0] == f"# {line}"
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")
    python, make = environment["dependencies"]
    assert make == "make" and Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["requires-python"])


def test_the_optional_weights_ask_for_what_the_lock_has_for_the_smallest() -> None:
    (smallest,) = (text for text in PROJECT["dependencies"] if text.startswith("efficientnet-lite0"))
    for text in PROJECT["optional-dependencies"]["weights"]:
        assert Requirement(text).specifier == Requirement(smallest).specifier
