"""Set-up by `make` from a made registry: it holds a newer version beside each pinned one, and only pins may be fetched.

The registry is a folder of small wheels and one source package, served on this machine. Its `setuptools` is a small
build backend and its `uv` starts the real one, so that pip, uv and make are the real ones and nothing else is needed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nbhelpers.runs.parameters import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
TOOLS = ("make", "bash", "sh", "cat", "cut", "grep", "head", "mkdir", "rm", "awk", "sed", "tee", "df", "which")
PINNED = {"authy": "1.0", "built": "1.0", "needs-extra": "1.0", "plain": "1.0", "setuptools": "84.0", "uv": "0.9"}
CUDA = {"torch": "1.0", "torchvision": "1.0", "nvidia-thing": "1.0"}

BACKEND = r"""
import pathlib, tomllib, zipfile

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(folder, config_settings=None, metadata_directory=None, text=""):
    project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    info = f"{name}-{version}.dist-info"
    files = {f"{name}.pth": text, f"{info}/METADATA": METADATA.format(**project), f"{info}/WHEEL": WHEEL}
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    made = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / made, "w") as file:
        for path, content in files.items():
            file.writestr(path, content)
    return made


def build_editable(folder, config_settings=None, metadata_directory=None):
    return build_wheel(folder, text=f"{pathlib.Path.cwd()}\n")
"""
PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"
"""
REAL_UV = """
import os, sys

os.execv({path!r}, [{path!r}, *sys.argv[1:]])
"""


def wheel(folder: Path, name: str, version: str, requires: str = "", tag: str = "py3-none-any", **files: str) -> None:
    """A wheel; `requires` are lines of its metadata, and `files` the modules of its package."""
    name = name.replace("-", "_")
    stem = f"{name}-{version}"
    content = {f"{name}/{module}.py": text for module, text in ({"__init__": ""} | files).items()}
    content[f"{stem}.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    content[f"{stem}.dist-info/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    content[f"{stem}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{stem}.dist-info/RECORD"])
    with zipfile.ZipFile(folder / f"{stem}-{tag}.whl", "w") as file:
        for path, text in content.items():
            file.writestr(path, text)


def source(folder: Path, name: str, version: str) -> None:
    """A package that must be built where it is installed."""
    stem = f"{name}-{version}"
    content = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
    content["pyproject.toml"] = PROJECT.format(name=name, version=version)
    with tarfile.open(folder / f"{stem}.tar.gz", "w:gz") as file:
        for path, text in content.items():
            entry = tarfile.TarInfo(f"{stem}/{path}")
            entry.size = len(text.encode())
            file.addfile(entry, io.BytesIO(text.encode()))


class Registry(SimpleHTTPRequestHandler):
    """A page for each package, and the files below it, as registries have them; `fetched` tells which were taken."""

    fetched: list[str]

    def do_GET(self) -> None:
        folder = Path(self.directory)
        if name := re.fullmatch(r"/simple/([a-z0-9-]+)/", self.path):
            start = name.group(1).replace("-", "_") + "-"
            files = sorted(path for path in folder.iterdir() if path.name.startswith(start))
            links = [
                f'<a href="/{path.name.replace("+", "%2B")}#sha256={digest(path)}">{path.name}</a>' for path in files
            ]
            page = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
            self.send_response(200 if files else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
        else:
            type(self).fetched.append(self.path[1:].replace("%2B", "+"))
            super().do_GET()

    def log_message(self, *words: object) -> None:
        """Nothing: a test's output is its own."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, list[str]]]:
    """Its address, its folder, and the list of what was fetched from it."""
    import uv

    folder = tmp_path_factory.mktemp("registry")
    for version in ("1.0", "2.0"):
        wheel(folder, "needs-extra", version, "Requires-Dist: authy[more]>=1.0\n")
        wheel(folder, "authy", version, "Provides-Extra: more\nRequires-Dist: plain>=1.0; extra == 'more'\n")
        wheel(folder, "plain", version)
        source(folder, "built", version)
        wheel(folder, "torch", version, "Requires-Dist: nvidia-thing\n")
        wheel(folder, "torch", f"{version}+cpu")
        wheel(folder, "torchvision", version, f"Requires-Dist: torch=={version}\n")
        wheel(folder, "nvidia-thing", version)
    wheel(folder, "torchvision", "1.0+cpu", "Requires-Dist: torch==1.0\n")
    wheel(folder, "setuptools", "84.0", build_meta=BACKEND)
    wheel(folder, "setuptools", "99.0", build_meta="raise SystemExit('a build tool that the lock does not name')")
    wheel(folder, "uv", "0.9", __main__=REAL_UV.format(path=uv.find_uv_bin()))
    wheel(folder, "uv", "0.8", tag="py3-none-win32")
    wheel(folder, "uv", "99.0", __main__="raise SystemExit('a uv that the lock does not name')")
    handler = type("Handler", (Registry,), {"fetched": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple", folder, handler.fetched
    server.shutdown()
    server.server_close()


def lock_of(folder: Path, pins: dict[str, str]) -> str:
    lines = []
    for name, version in sorted(pins.items()):
        (path,) = [
            path for path in folder.iterdir() if re.match(rf"{name.replace('-', '_')}-{version}[-.][a-z]", path.name)
        ]
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{digest(path)}\n")
    return "# made\n" + "".join(lines)


class Machine:
    """A checkout, and a machine that has Python and a few tools: no git, no compiler, no setting of pip's."""

    def __init__(self, folder: Path, registry: tuple[str, Path, list[str]], python: str, checkout: str = "checkout"):
        address, self.files, self.fetched = registry
        self.fetched.clear()
        self.checkout = folder / checkout
        self.checkout.mkdir()
        self.python = python
        shutil.copy(ROOT / "Makefile", self.checkout)
        (self.checkout / "pyproject.toml").write_text(PROJECT.format(name="nbhelpers", version="0.1"))
        self.lock(PINNED)
        self.tools = folder / "bin"
        self.tools.mkdir()
        for name in TOOLS:
            if found := shutil.which(name):
                (self.tools / name).symlink_to(found)
        self.env = {
            "PATH": str(self.tools),
            "HOME": str(folder),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": address,
        }

    def lock(self, pins: dict[str, str]) -> None:
        (self.checkout / "requirements.lock").write_text(lock_of(self.files, pins))

    def tool(self, name: str, script: str) -> None:
        (self.tools / name).unlink(missing_ok=True)
        (self.tools / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (self.tools / name).chmod(0o755)

    def setup(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "setup", f"PYTHON={self.python}", *words]
        return subprocess.run(command, cwd=self.checkout, env=self.env, capture_output=True, text=True, timeout=300)

    def installed(self) -> dict[str, str]:
        (site,) = (self.checkout / ".venv").glob("lib/python*/site-packages")
        command = [str(self.checkout / ".venv/bin/python"), "-m", "pip", "list", "--format=json", "--path", str(site)]
        found = json.loads(subprocess.run(command, env=self.env, capture_output=True, check=True, text=True).stdout)
        return {entry["name"].replace("_", "-"): entry["version"] for entry in found if entry["name"] != "pip"}


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that is the project's; make's own line follows it."""
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 2, done.stdout + done.stderr
    assert done.stderr.startswith("nb-cxr: ")
    return done.stderr.splitlines()[0]


def python_of(minor: int) -> str | None:
    """A Python of this version, with the pip that came with it."""
    folders = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin"))
    for candidate in [shutil.which(f"python3.{minor}"), *(str(folder / "python3") for folder in folders)]:
        if candidate:
            ask = [candidate, "-c", "import ensurepip, venv, sys; print(sys.version_info[1], sys.executable)"]
            told = subprocess.run(ask, capture_output=True, text=True).stdout.split(maxsplit=1)
            if told and told[0] == str(minor):
                return told[1].strip()
    return None


@pytest.fixture(params=[11, 12, 13, 14], ids="python3.{}".format)
def each_python(request: pytest.FixtureRequest) -> str:
    found = python_of(request.param)
    if found is None:
        pytest.skip(f"Python 3.{request.param} is not on this machine")
    return found


@pytest.fixture
def machine(tmp_path: Path, registry: tuple[str, Path, list[str]]) -> Machine:
    return Machine(tmp_path, registry, sys.executable)


def only_pins(machine: Machine) -> bool:
    """Whether every file that was fetched is of a pinned version."""
    wanted = {f"{name.replace('-', '_')}-{version}" for name, version in PINNED.items()}
    return all(
        name.startswith(tuple(f"{stem}{end}" for stem in wanted for end in ("-", ".tar"))) for name in machine.fetched
    )


def test_each_python_installs_the_pins_and_fetches_nothing_else(
    tmp_path: Path, registry: tuple[str, Path, list[str]], each_python: str
) -> None:
    machine = Machine(tmp_path, registry, each_python)
    done = machine.setup()
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.installed() == PINNED | {"nbhelpers": "0.1"}
    assert machine.fetched and only_pins(machine)
    assert "8 GB" in done.stdout.splitlines()[0] and "TORCH=cpu" in done.stdout.splitlines()[1]
    assert "Installed 4 packages" in done.stdout  # by uv
    assert list(machine.checkout.glob(".venv/lib/*/site-packages/plain/__pycache__/*.pyc")), "not compiled"
    assert machine.setup().stdout.splitlines()[-1:] == ["make: Nothing to be done for 'setup'."]


def test_where_uv_does_not_run_each_pip_installs_the_same(
    tmp_path: Path, registry: tuple[str, Path, list[str]], each_python: str
) -> None:
    machine = Machine(tmp_path, registry, each_python)
    machine.lock(PINNED | {"uv": "0.8"})  # of which there is a wheel for another system alone
    text = (machine.checkout / "requirements.lock").read_text()
    (machine.checkout / "requirements.lock").write_text(
        text.replace("uv==0.8 \\", "uv==0.8 ; sys_platform == 'win32' \\")
    )
    done = machine.setup()
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.installed() == {name: PINNED[name] for name in PINNED if name != "uv"} | {"nbhelpers": "0.1"}
    assert machine.fetched and only_pins(machine)


def test_without_the_recipe_the_same_lock_makes_an_older_pip_ask_for_what_is_newest(
    tmp_path: Path, registry: tuple[str, Path, list[str]], each_python: str
) -> None:
    machine = Machine(tmp_path, registry, each_python)
    subprocess.run([each_python, "-m", "venv", ".venv"], cwd=machine.checkout, check=True)
    pip = [str(machine.checkout / ".venv/bin/python"), "-m", "pip"]
    told = subprocess.run([*pip, "--version"], env=machine.env, capture_output=True, text=True).stdout.split()[1]
    if int(told.split(".")[0]) >= 24:
        pytest.skip(f"pip {told} looks at the lock first")
    command = [*pip, "install", "--require-hashes", "--only-binary", ":all:", "-r", "requirements.lock"]
    machine.lock({name: version for name, version in PINNED.items() if name != "built"})
    done = subprocess.run(command, cwd=machine.checkout, env=machine.env, capture_output=True, text=True)
    assert done.returncode != 0 and "In --require-hashes mode" in done.stderr and "authy[more]" in done.stderr


def test_a_machine_that_lacks_a_home_and_a_locale_sets_up_in_a_folder_of_any_name(
    tmp_path: Path, registry: tuple[str, Path, list[str]]
) -> None:
    machine = Machine(tmp_path, registry, sys.executable, checkout="a b #c (d), 'e' & f")
    machine.env |= {"HOME": "/proc/nobody", "LC_ALL": "C"}
    done = machine.setup()
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.installed() == PINNED | {"nbhelpers": "0.1"} and only_pins(machine)
    assert not (machine.checkout / ".venv/home/uv").exists() and not (machine.checkout / ".venv/home/pip").exists()
    assert machine.setup().stdout.splitlines()[-1:] == ["make: Nothing to be done for 'setup'."]
    (pth,) = (machine.checkout / ".venv").glob("lib/python*/site-packages/nbhelpers.pth")
    assert pth.read_text(encoding="utf-8") == f"{machine.checkout}\n"


@pytest.mark.parametrize("name", ["films: new", "{films}", "$films"])
def test_a_path_that_no_environment_can_have_is_named(
    tmp_path: Path, registry: tuple[str, Path, list[str]], name: str
) -> None:
    machine = Machine(tmp_path, registry, sys.executable, checkout=name)
    assert "holds one of : { } $" in complaint(machine.setup()) and name in complaint(machine.setup())
    assert not (machine.checkout / ".venv").exists()


def test_a_path_with_letters_that_the_locale_lacks_is_named_and_works_where_it_has_them(
    tmp_path: Path, registry: tuple[str, Path, list[str]]
) -> None:
    machine = Machine(tmp_path, registry, sys.executable, checkout="Röntgen")
    machine.env["LC_ALL"] = "C"
    done = machine.setup()
    if done.returncode or sys.version_info < (3, 13):  # newer Pythons read such a path in any locale
        assert "export LC_ALL=C.UTF-8" in complaint(done)
    machine.env["LC_ALL"] = "C.UTF-8"
    assert machine.setup().returncode == 0
    assert machine.installed() == PINNED | {"nbhelpers": "0.1"}


def test_a_disk_that_is_too_small_is_named_before_anything_is_fetched(machine: Machine) -> None:
    machine.tool("df", "echo Filesystem; echo /dev/disk 100000000 95000000 5000000 95% /")
    assert "9 GB of disk are needed, and 5 are free" in complaint(machine.setup())
    assert machine.fetched == []


def test_half_a_set_up_is_made_again_and_a_whole_one_is_kept_and_brought_up_to_date(machine: Machine) -> None:
    good = (machine.checkout / "requirements.lock").read_text()
    plain = next(machine.files.glob("plain-1.0-*"))
    (machine.checkout / "requirements.lock").write_text(good.replace(digest(plain), "0" * 64))
    assert "installation failed" in complaint(machine.setup())
    assert "plain" in (machine.checkout / ".venv/pip.log").read_text()

    left = machine.checkout / ".venv" / "left by the first"
    left.touch()
    machine.lock(PINNED)
    done = machine.setup()
    assert done.returncode == 0 and machine.installed() == PINNED | {"nbhelpers": "0.1"}, done.stdout + done.stderr
    assert not left.exists()

    left.touch()
    machine.lock(PINNED | {"plain": "2.0"})
    done = machine.setup()
    assert done.returncode == 0 and machine.installed()["plain"] == "2.0", done.stdout + done.stderr
    assert left.exists() and "up to date" in done.stdout


def test_pins_that_do_not_fit_together_are_an_error(machine: Machine) -> None:
    machine.lock(PINNED | {"torchvision": "1.0", "torch": "2.0", "nvidia-thing": "1.0"})
    assert "do not fit together: torchvision 1.0" in complaint(machine.setup())
    assert not (machine.checkout / ".venv/.installed").exists()


def test_what_was_said_to_pip_alone_is_heeded_by_leaving_the_fetching_to_pip(machine: Machine) -> None:
    machine.env["PIP_TRUSTED_HOST"] = "registry.example"
    done = machine.setup()
    assert done.returncode == 0 and machine.installed() == PINNED | {"nbhelpers": "0.1"}, done.stdout + done.stderr
    assert "Installed" not in done.stdout and only_pins(machine)


def test_pytorch_without_cuda_is_had_where_the_index_has_it_and_stays(machine: Machine) -> None:
    machine.lock(PINNED | CUDA)
    done = machine.setup("TORCH=cpu")
    expected = PINNED | {"torch": "1.0+cpu", "torchvision": "1.0+cpu", "nbhelpers": "0.1"}
    assert done.returncode == 0 and machine.installed() == expected, done.stdout + done.stderr
    assert "3.5 GB" in done.stdout
    machine.lock(PINNED | CUDA | {"plain": "2.0"})
    assert machine.setup().returncode == 0
    assert machine.installed() == expected | {"plain": "2.0"}
    assert machine.setup("TORCH=").returncode == 0
    assert machine.installed() == PINNED | CUDA | {"plain": "2.0", "nbhelpers": "0.1"}


def test_pytorch_without_cuda_that_is_nowhere_is_named(machine: Machine) -> None:
    machine.lock(PINNED | CUDA | {"torchvision": "2.0", "torch": "2.0"})
    assert "torch==2.0+cpu torchvision==2.0+cpu are not where pip looks" in complaint(machine.setup("TORCH=cpu"))
    assert "TORCH is cpu" in complaint(machine.setup("TORCH=rocm"))
