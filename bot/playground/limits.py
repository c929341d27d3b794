"""What Slack refuses to show: a view or message over its limits, or without a required part."""

from collections.abc import Iterator
from typing import Any

TITLE, LABEL, HINT, BUTTON, VALUE = 24, 2000, 2000, 75, 2000
INPUT = SECTION = METADATA = 3000
HEADER, ELEMENTS = 150, 25
MESSAGE_BLOCKS, VIEW_BLOCKS, MESSAGE_TEXT = 50, 100, 40_000


def length(text: str) -> int:
    """Count as Slack does, in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def problems_of_view(view: dict[str, Any], kind: str = "modal") -> list[str]:
    """Say what Slack would not take of a modal, or of an App Home; nothing, when it would."""
    found = [
        f"{part} longer than {TITLE}"
        for part in ("title", "submit", "close")
        if part in view and not 0 < length(view[part]["text"]) <= TITLE
    ]
    if view.get("type") != kind:
        found.append(f"not of the type {kind}")
    if kind == "modal" and "title" not in view:
        found.append("no title")
    if kind != "modal" and view.keys() & {"title", "submit", "close"}:
        found.append("a title, or a button that only a modal has")
    if length(view.get("private_metadata", "")) > METADATA:
        found.append("private_metadata too long")
    blocks = view.get("blocks", [])
    if not 0 < len(blocks) <= VIEW_BLOCKS:
        found.append("too many blocks, or none")
    has_input = any(block["type"] == "input" for block in blocks)
    if kind == "modal" and has_input and "submit" not in view:
        found.append("an input, and no submit")
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)):
        found.append("a block_id twice")
    return [*found, *(problem for block in blocks for problem in _problems_of_block(block))]


def problems_of_message(text: str, blocks: list[dict[str, Any]]) -> list[str]:
    """Say what Slack would not take of a message, and what a screen reader would miss."""
    found = [] if text.strip() else ["no text, which a screen reader reads"]
    if length(text) > MESSAGE_TEXT or len(blocks) > MESSAGE_BLOCKS:
        found.append("too long")
    return [*found, *(problem for block in blocks for problem in _problems_of_block(block))]


def _problems_of_block(block: dict[str, Any]) -> Iterator[str]:
    match block["type"]:
        case "section":
            texts = [*([block["text"]] if "text" in block else []), *block.get("fields", [])]
            if not texts or any(not 0 < length(one["text"]) <= SECTION for one in texts):
                yield "a section too long, or empty"
            yield from _problems_of_button(block.get("accessory", {}))
        case "header":
            if not 0 < length(block["text"]["text"]) <= HEADER:
                yield "a header too long, or empty"
        case "context":
            if any(not 0 < length(element["text"]) <= SECTION for element in block["elements"]):
                yield "a context too long, or empty"
        case "actions":
            if not 0 < len(block["elements"]) <= ELEMENTS:
                yield "too many elements, or none"
            for element in block["elements"]:
                yield from _problems_of_button(element)
        case "input":
            yield from _problems_of_input(block)


def _problems_of_button(element: dict[str, Any]) -> Iterator[str]:
    if element.get("type") == "button" and (
        not 0 < length(element["text"]["text"]) <= BUTTON
        or length(element.get("value", "")) > VALUE
    ):
        yield "a button's text or value too long"


def _problems_of_input(block: dict[str, Any]) -> Iterator[str]:
    if not 0 < length(block["label"]["text"]) <= LABEL:
        yield "an input without a label"
    if length(block.get("hint", {}).get("text", "")) > HINT:
        yield "a hint too long"
    element = block["element"]
    if length(element.get("initial_value", "")) > element.get("max_length", INPUT):
        yield "an initial_value too long"
    options = element.get("options", [])
    chosen = (
        [element["initial_option"]]
        if "initial_option" in element
        else element.get("initial_options", [])
    )
    if any(option not in options for option in chosen):
        yield "an initial option that is none of the options"
    if any(length(option["text"]["text"]) > BUTTON for option in options):
        yield "an option's text too long"
