"""What the package imports is what it asks for: ``make demo`` installs no more than that, the tests have all."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PART_OF = {
    "annotated_types": "pydantic",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
    "starlette": "fastapi",
}
"""What is imported by itself, and belongs to what is asked for: that is made of it, and says so."""


def imported(tree: ast.Module) -> Iterator[str]:
    """Packages that a module imports, wherever it does so, but for what type checkers alone read."""
    unread = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for each in node.body
        for inner in ast.walk(each)
    }
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def names(lines: list[str]) -> set[str]:
    """Distributions of requirements, as they are compared."""
    return {normal(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_all_that_is_imported_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: names(lines) for name, lines in project["optional-dependencies"].items() if name != "dev"}
    asked = names(project["dependencies"])
    known = packages_distributions()
    missing = set()
    for path in sorted((ROOT / "src" / "fanlight").rglob("*.py")):
        for package in imported(ast.parse(path.read_text(encoding="utf-8"))):
            if package in sys.stdlib_module_names or package == "fanlight":
                continue
            of = {PART_OF.get(package, "")} | {normal(each) for each in known.get(package, [package])}
            if not of & asked and not any(of & extra for extra in extras.values()):
                missing.add((str(path.relative_to(ROOT)), package))
    assert missing == set()
