"""The house: imports run one way, only `app` wires, and no test imports another."""

import ast
import re

from support.programs import ROOT

LAYERS = (
    "__main__", "admin", "playground", "process", "app", "slack", "metrics", "installations",
    "activities", "tenants", "keys",
    "settings", "leadsquared", "database", "encryption", "logs", "backoff",
)  # fmt: skip
"""From the top: a part may import what stands after it."""

BOT = ROOT / "bot"
TESTS = re.compile(r"(^|\.)(conftest$|test_)")


def test_imports_run_one_way() -> None:
    upwards = []
    for file in sorted(BOT.rglob("*.py")):
        if file == BOT / "__init__.py":
            continue
        part = file.relative_to(BOT).parts[0].removesuffix(".py")
        modules = [
            node.module
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom)
        ]
        others = {
            module.split(".")[1] for module in modules if module and module.startswith("bot.")
        }
        allowed = LAYERS[LAYERS.index(part) :]
        upwards += [
            f"{file.relative_to(BOT)} imports {other}" for other in others if other not in allowed
        ]
    assert upwards == []


def test_no_test_imports_another() -> None:
    found = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                found += [f"{file.name} imports {name}" for name in names if TESTS.search(name)]
    assert found == [], "what tests share stands in tests/support"
