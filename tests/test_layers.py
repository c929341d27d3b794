"""The house: imports run one way, and only `app` wires."""

import ast
from pathlib import Path

LAYERS = (
    "__main__", "admin", "playground", "process", "app", "slack", "activities", "tenants", "keys", "settings",
    "leadsquared", "database", "encryption", "logs", "backoff",
)  # fmt: skip
"""From the top: a part may import what stands after it."""

BOT = Path(__file__).parents[1] / "bot"


def test_imports_run_one_way() -> None:
    upwards = []
    for file in sorted(BOT.rglob("*.py")):
        if file == BOT / "__init__.py":
            continue
        part = file.relative_to(BOT).parts[0].removesuffix(".py")
        modules = [node.module for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        others = {module.split(".")[1] for module in modules if module and module.startswith("bot.")}
        allowed = LAYERS[LAYERS.index(part) :]
        upwards += [f"{file.relative_to(BOT)} imports {other}" for other in others if other not in allowed]
    assert upwards == []
