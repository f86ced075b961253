"""Packages of `distillvlm` depend on each other in one direction."""

import ast
from pathlib import Path

import distillvlm

ROOT = Path(distillvlm.__file__).parent
# Each may import what stands before it, and itself.
ORDER = ("structures", "data", "losses", "modeling", "engine", "tasks", "evaluation", "export", "recipes", "cli")


def imported(path: Path) -> set[str]:
    """Parts of `distillvlm` that a module imports."""
    names = {
        node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    return {name.split(".")[1] for name in names if name.startswith("distillvlm.")}


def test_packages_import_those_before_them_alone() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if own in ORDER:
            before = ORDER[: ORDER.index(own) + 1]
            wrong += [f"{path.relative_to(ROOT)}: {other}" for other in imported(path) if other not in before]
    assert wrong == []
