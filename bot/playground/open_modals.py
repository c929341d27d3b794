"""The modals that are open in the stand-in for Slack, and what a person left in their inputs."""

from typing import Any

View = dict[str, Any]


def inputs(view: View) -> dict[str, dict[str, Any]]:
    """Return a view's input blocks by block_id."""
    return {
        block["block_id"]: block for block in view.get("blocks", []) if block["type"] == "input"
    }


class Modals:
    """Views by id, oldest first, each with what a person left in it."""

    def __init__(self) -> None:
        self.open: list[View] = []
        self._left: dict[
            str, dict[str, dict[str, Any]]
        ] = {}  # view id -> block_id -> the input's state, where changed

    def fill(self, modal: View, block_id: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """Leave something in an input.

        It is a text, an option's value, or a list of the ticked options.
        """
        element = inputs(modal)[block_id]["element"]
        options = {option["value"]: option for option in element.get("options", [])}
        match element["type"]:
            case "radio_buttons":
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
        if state["type"] == "radio_buttons":
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
                "radio_buttons": {"selected_option": element.get("initial_option")},
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
                self.open[number] = {**view, "id": view_id, "hash": hash_}
                return self.open[number]
        return None

    def is_stale(self, view_id: str, hash_: str) -> bool:
        """Say whether a view has changed since it had this hash."""
        return any(modal["id"] == view_id and modal["hash"] != hash_ for modal in self.open)

    def close(self, view_id: str) -> None:
        self.open = [modal for modal in self.open if modal["id"] != view_id]
