"""The modals that are open in the stand-in for Slack, and what a person left in their inputs."""

from typing import Any

View = dict[str, Any]


def inputs(view: View) -> dict[str, dict[str, Any]]:
    """Return a view's input blocks by block_id."""
    return {
        block["block_id"]: block for block in view.get("blocks", []) if block["type"] == "input"
    }


def buttons_in(view: View) -> list[dict[str, Any]]:
    """Return what Slack sends of each button of a view when it is pressed."""
    return [button for block in view.get("blocks", []) for button in buttons_of(block)]


def buttons_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the same of one block's buttons."""
    return [
        {**element, "block_id": block.get("block_id", "b1")}
        for element in [*block.get("elements", []), block.get("accessory", {})]
        if element.get("type") == "button"
    ]


def button_in(view: View, label: str) -> dict[str, Any]:
    """Return the same of the first button with a label."""
    found = (one for one in buttons_in(view) if one["text"]["text"] == label)
    if (button := next(found, None)) is None:
        raise KeyError(label)
    return button


_CHOSEN = {
    "multi_channels_select": "selected_channels",
    "multi_conversations_select": "selected_conversations",
    "multi_users_select": "selected_users",
    "channels_select": "selected_channel",
    "conversations_select": "selected_conversation",
    "users_select": "selected_user",
}
"""Where Slack puts IDs that were chosen, by the element's type. Those before are `initial_…`."""


class Modals:
    """Views by id, oldest first, each with what a person left in it."""

    def __init__(self) -> None:
        self.open: list[View] = []
        self.opened_by: dict[str, str | None] = {}  # view id -> the person in front of it
        self._left: dict[
            str, dict[str, dict[str, Any]]
        ] = {}  # view id -> block_id -> the input's state, where changed

    def fill(self, modal: View, block_id: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """Leave something in an input.

        It is a text, an option's value, a list of the ticked options, or chosen IDs.
        """
        element = inputs(modal)[block_id]["element"]
        options = {option["value"]: option for option in element.get("options", [])}
        match element["type"]:
            case kind if kind in _CHOSEN:
                left = {_CHOSEN[kind]: value}
            case "radio_buttons" | "static_select":
                left = {"selected_option": options[value]}
            case "checkboxes":
                left = {"selected_options": [options[one] for one in value]}
            case _:
                left = {"value": value or None}
        self._left.setdefault(modal["id"], {})[block_id] = left

    def value(self, modal: View, block_id: str) -> Any:  # noqa: ANN401 - JSON
        """Return what stands in an input now.

        It is a text, the chosen option's value, or a list of the ticked ones.
        """
        (state,) = self.state(modal)[block_id].values()
        if state["type"] in _CHOSEN:
            return state[_CHOSEN[state["type"]]]
        if state["type"] in ("radio_buttons", "static_select"):
            return (state["selected_option"] or {}).get("value")
        if state["type"] == "checkboxes":
            return [option["value"] for option in state["selected_options"]]
        return state["value"]

    def state(self, modal: View) -> dict[str, dict[str, dict[str, Any]]]:
        """Return a modal's state as Slack sends it."""
        changed = self._left.get(modal["id"], {})
        values = {}
        for block_id, block in inputs(modal).items():
            element = block["element"]
            initial = {
                **{
                    kind: {chosen: element.get(chosen.replace("selected", "initial"))}
                    for kind, chosen in _CHOSEN.items()
                },
                "radio_buttons": {"selected_option": element.get("initial_option")},
                "static_select": {"selected_option": element.get("initial_option")},
                "checkboxes": {"selected_options": element.get("initial_options", [])},
            }.get(element["type"], {"value": element.get("initial_value")})
            values[block_id] = {
                element["action_id"]: {"type": element["type"], **changed.get(block_id, initial)}
            }
        return values

    def replace(self, view_id: str, view: View, *, hash_: str) -> View | None:
        """Put a view in another's place; None when that is not open.

        What a person left in an input stays there when the new view has an input of the same
        block_id and action_id.
        """
        for number, old in enumerate(self.open):
            if old["id"] == view_id:
                state = self.state(old)
                self._left[view_id] = {
                    block_id: state[block_id][block["element"]["action_id"]]
                    for block_id, block in inputs(view).items()
                    if block["element"]["action_id"] in state.get(block_id, {})
                }
                kept = {name: old[name] for name in ("id", "team_id", "app_id")}
                self.open[number] = {**view, **kept, "hash": hash_}
                return self.open[number]
        return None

    def is_stale(self, view_id: str, hash_: str) -> bool:
        """Say whether a view has changed since it had this hash."""
        return any(modal["id"] == view_id and modal["hash"] != hash_ for modal in self.open)

    def close(self, view_id: str) -> None:
        self.open = [modal for modal in self.open if modal["id"] != view_id]
