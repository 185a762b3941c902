"""What import-linter cannot say: no torch in the web process, no writes into other modules, tests for all."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sdwebui"
MODULES = sorted(PACKAGE.rglob("*.py"))
WEB_ROOMS = ("domain", "service", "storage", "runners", "api", "ui", "plugins")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_rooms_of_the_web_process_load_neither_torch_nor_diffusers():
    names = [
        module_name(p) for p in MODULES if p.parts[len(PACKAGE.parts)] in WEB_ROOMS and "migrations" not in p.parts
    ]
    script = "import importlib, sys\n" + "\n".join(f"importlib.import_module({n!r})" for n in [*names, "sdwebui.ports"])
    script += "\nprint(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_the_composition_root_and_command_line_load_no_torch():
    script = "import sys, sdwebui.cli, sdwebui.bootstrap; print('torch' in sys.modules, 'gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "False"]


def imported_names(tree: ast.Module) -> set[str]:
    """Names bound at module level by an import: writing to their attributes reaches into somebody else's room."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def writes_to_imported_objects(tree: ast.Module) -> Iterator[int]:
    imported = imported_names(tree)
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            root = target
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(target, ast.Attribute) and isinstance(root, ast.Name) and root.id in imported:
                yield target.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_writes_into_another_or_keeps_a_global(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(writes_to_imported_objects(tree)) == []
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)] == []


def test_the_write_detector_sees_a_planted_fault():
    planted = ast.parse("import torch\nfrom a import b\ntorch.backends.flag = 1\nb.c += 2\nlocal = 3\n")
    assert list(writes_to_imported_objects(planted)) == [3, 4]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_and_has_a_test_file(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    if path.name in {"__init__.py", "__main__.py", "ports.py"} or "migrations" in path.parts:
        return
    room = path.relative_to(PACKAGE).parent
    assert (ROOT / "tests" / room / f"test_{path.stem}.py").exists()


def test_files_stay_one_subject_long():
    long = {
        str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert long == {}


def test_the_project_speaks_of_itself_alone():
    """No path of a build machine and no registry host may stand in what is committed."""
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()
    texts = [
        ROOT / name for name in tracked if Path(name).suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".json", ""}
    ]
    forbidden = ("/work" + "/main", "/root" + "/", "files.python" + "hosted", "pypi" + ".org/simple")
    hits = [
        (str(path.relative_to(ROOT)), word)
        for path in texts
        if path.is_file() and path.suffix != ".gz"
        for word in forbidden
        if word in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert hits == []
