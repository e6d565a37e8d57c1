"""The plan of the house: imports go one way, and rooms stay small."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"
# A folder imports only those before it. The first stands for the modules that lie in src itself.
ORDER = (
    "", "demo", "data", "model", "engines", "features", "matching", "training", "retrieval", "evaluation", "report",
    "serve", "commands",
)  # fmt: skip
APART = (("training", "retrieval"), ("training", "evaluation"), ("model", "data"), ("demo", "data"))  # of one height


def modules():
    """Dotted name below src -> syntax tree."""
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found[".".join(parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imported(name, tree, known):
    """Modules of the project that a module imports, at its top or inside a function."""
    package = name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] in ("src", "delf") for alias in node.names), name
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level == 0:
            assert node.module.split(".")[0] not in ("src", "delf", "tools"), f"{name}: {node.module}"
            continue
        base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
        for alias in node.names:
            candidates = (".".join([*base, alias.name]), ".".join(base), ".".join([*base, "__init__"]))
            yield next(candidate for candidate in candidates if candidate in known)


MODULES = modules()
ARROWS = {name: sorted(set(imported(name, tree, MODULES)) - {name}) for name, tree in MODULES.items()}


def folder(name):
    return name.split(".")[0] if "." in name else ""


@pytest.mark.parametrize("name", [name for name in MODULES if name != "__init__"])
def test_no_folder_imports_one_above_it(name):
    here = folder(name)
    for other in ARROWS[name]:
        there = folder(other)
        assert ORDER.index(there) <= ORDER.index(here), f"{name} imports {other}"
        assert (there, here) not in APART and (here, there) not in APART, f"{name} imports {other}"


def test_no_circle_of_modules():
    done, under_way = set(), []

    def visit(name):
        assert name not in under_way, " -> ".join([*under_way[under_way.index(name) :], name])
        if name not in done:
            under_way.append(name)
            for other in ARROWS[name]:
                visit(other)
            done.add(under_way.pop())

    for name in MODULES:
        visit(name)


def test_rooms_stay_small():
    lines = {name: len((SRC / f"{name.replace('.', '/')}.py").read_text().splitlines()) for name in MODULES}
    assert max(lines.values()) <= 330, max(lines, key=lines.get)
    functions = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert max(functions.values()) <= 60, max(functions, key=functions.get)


def test_the_package_is_listed_whole():
    text = (SRC.parent / "pyproject.toml").read_text()
    for path in SRC.iterdir():
        assert not (path / "__init__.py").exists() or f'"delf.{path.name}"' in text, path


def test_files_of_tests_have_names_of_their_own():
    """A process that a test starts imports it by its file's name, and would find the other one."""
    names = [
        path.name for path in Path(__file__).parent.rglob("*.py") if path.name not in ("__init__.py", "conftest.py")
    ]
    assert sorted(names) == sorted(set(names))
