"""The words in the form: under its fields, beside them, and where a field is wrong. Pure."""

import math

TICKET = "For example 143, #143, a GUID, or a link to the ticket"
TEXT = "Enter what the customer did. It appears on the ticket exactly like this."
CHOICE = "Your choice replaces the text below."
ENTER_TICKET = "Enter the ticket, for example:\n143"
ENTER_TEXT = "Enter what the customer did."
TEXT_CHANGED = "You changed the text below, so it was not replaced. Choose again, and wait until the text changes."
NO_LINK = "A link to the message can't be added: Slack didn't give one."
YOUR_NAME = "your name"
"""In the preview of the last line, where Slack has not told the name yet."""

READING = "Reading the message… If this takes more than 10 seconds, close the form and try again."


def last_line(line: str) -> str:
    """The preview of what stands at the end of what LeadSquared gets."""
    return f"LeadSquared also gets this last line:\n{line}"


def ticket_seen(ticket: str, title: str, status: str | None) -> str:
    """Under the ticket: which one it is."""
    return f"Ticket {ticket}: “{title}”{f', {status}' if status else ''}"


def ticket_closed(ticket: str, title: str) -> str:
    return f"⚠️ Ticket {ticket} is closed: “{title}”. You can still record on it."


def no_such_ticket(ticket: str) -> str:
    return f"⚠️ LeadSquared shows no ticket {ticket}. Check the number before you record."


def too_long(length: int, at_most: int) -> str:
    return f"This field holds {at_most:,} characters; you entered {length:,}."


def continued(what: str, length: int, left_out: int) -> str:
    """Say that a text goes on in further fields; `what` is a message, or a text."""
    words = f"This {what} has {length:,} characters, so it continues in the fields below."
    return f"{words} The last {left_out:,} characters are left out." if left_out else words


def thread_cut(at_most: int, messages: int, *, first_is_cut: bool) -> str:
    """Say what of a thread has no room in its field."""
    first = "the end of the first message and " if first_is_cut else ""
    later = f"{messages:,} later message{'' if messages == 1 else 's'}"
    return f"A field holds {at_most:,} characters, so this is left out: {first}{later}."


def thread_unread(messages: int, read_on_in: float | None) -> str:
    """Say what of a thread Slack has not given yet, and when it can be had."""
    missing = f"{messages:,} later message{'' if messages == 1 else 's'}"
    words = f"This is not the whole thread: the bot could not read {missing} yet."
    if read_on_in is None:
        return words
    return (
        f"{words} It can read on in {read_on_in:.0f} seconds. Then choose the whole thread again."
    )


def thread_read_ago(seconds: float) -> str:
    ago = f"{math.ceil(seconds)} seconds ago"
    return f"The bot read this thread {ago}; newer messages are not in it, because of Slack's rate limit."


def thread_read_in_part(read: int, total: int, read_on_in: float) -> str:
    return (
        f"The bot has read {read:,} of this thread's {total:,} messages, because of Slack's rate limit. "
        f"It can read on in {read_on_in:.0f} seconds."
    )


def not_editable(length: int) -> str:
    return (
        f"This text has {length:,} characters and can't be edited here. It will be sent unchanged:"
    )


def not_chosen(why: str) -> str:
    return f"The text below is not what you chose here. {why}"


def not_replaced(why: str) -> str:
    return f"The text was not replaced. {why}"


def only_this_message(why: str) -> str:
    return f"Only this message can be recorded, not its whole thread. {why}"
