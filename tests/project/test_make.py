"""Set-up by `make`: once, and a missing tool named in one line. Nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbhelpers.runs.parameters import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
TOOLS = ("make", "bash", "sh", "cat", "cut", "grep", "head", "printf", "rm")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and what it reads, and a folder of tools without any Python."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        if found := shutil.which(name):
            (tmp_path / "bin" / name).symlink_to(found)
    return folder


def make(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words],
        cwd=checkout,
        env={"PATH": str(checkout.parent / "bin"), "HOME": str(checkout)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def python_that(checkout: Path, name: str, script: str) -> None:
    """A stand-in for Python; `$2` is the code after `-c`."""
    path = checkout.parent / "bin" / name
    path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
    path.chmod(0o755)


def message(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that is the project's; make's own line follows it."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("nb-cxr:")]
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 2
    return line


def test_without_python_the_packages_to_install_are_named(checkout: Path) -> None:
    assert "apt-get install python3 python3-venv" in message(make(checkout, "demo"))


def test_a_python_that_is_too_old_does_not_count(checkout: Path) -> None:
    python_that(checkout, "python3", "exit 1")
    assert "Python 3.11" in message(make(checkout, "test"))


def test_a_newer_python_beside_an_old_one_is_taken_and_its_missing_venv_named(checkout: Path) -> None:
    python_that(checkout, "python3", "exit 1")
    ask = f'case "$2" in *ensurepip*) exit 1;; *) exec "{sys.executable}" "$@";; esac'
    python_that(checkout, "python3.12", ask)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    assert f"python3.12 cannot make environments: sudo apt-get install {version}" in message(make(checkout, "run"))


def test_what_was_set_up_is_not_set_up_again(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".installed").write_text(f"{checkout}\n")
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        os.utime(checkout / name, (1, 1))
    assert make(checkout, "setup").returncode == 0
    os.utime(checkout / "requirements.lock")
    assert "Python 3.11" in message(make(checkout, "setup"))


def test_a_checkout_that_was_moved_is_set_up_again(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".installed").write_text("/elsewhere\n")
    assert "Python 3.11" in message(make(checkout, "setup"))


def test_make_alone_tells_its_commands(checkout: Path) -> None:
    told = make(checkout).stdout
    assert all(f"make {word}" in told for word in ("demo", "test", "run PARAMS=", "lab"))
