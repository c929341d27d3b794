"""The playground's page in a real browser, used as a person uses it."""

from collections.abc import Awaitable, Callable

import pytest

from support.chromium import Tab
from support.pages import command, dialog, fault, go, shortcut, thread

pytestmark = pytest.mark.asyncio(loop_scope="session")
Shoot = Callable[[Tab, str], Awaitable[None]]


async def test_a_command_is_typed_and_its_thread_has_the_activity_id(
    page: Tab, shoot: Shoot
) -> None:
    await page.write("Message #support", "/port")
    await page.reads("main", "", "143 Customer uploaded the signed form")  # the command's hint
    await page.press("Tab")
    composer = await page.get("textbox", "Message #support")
    assert await composer.value() == "/portal-activity "
    await command(page, "/portal-activity 143 Customer uploaded the signed form")
    shown = await thread(page, "Recorded on ticket 143, activity ID")
    assert "> Customer" not in shown, "a quotation is shown as one"
    await page.reads("region", "LeadSquared of Initech", "Customer uploaded the signed form", "200")
    await shoot(page, "command")
    await composer.call("function() { this.focus(); }")
    await page.press("ArrowUp")
    assert await composer.value() == "/portal-activity 143 Customer uploaded the signed form"


async def test_what_slack_refuses_is_said_to_that_person_alone(page: Tab) -> None:
    await command(page, "/portal 143 hello")
    await page.reads("log", "", "Only visible to you", "/portal is not a valid command")
    await command(page, "/portal-activity help")
    await page.reads("log", "", "records what a customer did")
    await page.choose("Acting as", "Ben")
    await page.reads("main", "", "#support")
    assert "records what a customer did" not in await page.reads("log", "")


async def test_the_shortcut_opens_a_form_that_records_in_the_thread(
    page: Tab, shoot: Shoot
) -> None:
    await go(page, "customers")
    await shortcut(page, "Hello, about #143")
    form = await dialog(page, "Record in LeadSquared")
    ticket = await page.get("textbox", "Ticket", within=form)
    assert await ticket.value() == "143"
    chosen = await page.get("radio", "This message", within=form)
    assert await chosen.call("function() { return this.checked; }")
    text = await page.get("textbox", "Text", within=form)
    assert await text.call("function() { return this.tagName; }") == "TEXTAREA"
    await page.click("radio", "The whole thread", within=form)

    async def replaced() -> bool:
        return "I am looking into it" in await (await page.get("textbox", "Text")).value()

    await page.until(replaced, "text of the whole thread")
    await shoot(page, "form")
    await page.write("Ticket", "nonsense", within=form)
    await page.click("button", "Record", within=form)
    await page.reads("dialog", "Record in LeadSquared", "Not a ticket")
    await page.write("Ticket", "144", within=form)
    await page.click("button", "Record", within=form)
    await thread(page, "Recorded on ticket 144", "activity ID")
    assert await page.all("dialog") == []
    await shoot(page, "thread")


FAULTS = {
    "401": "LeadSquared rejected the access keys",
    "400": "not recorded on ticket 143",
    "404": "ticket 143",
    "500": "LeadSquared couldn't record this on ticket 143",
    "Hangs": "Check the ticket first",
    "Drops": "Check the ticket first",
    "Answers with HTML": "Check the ticket first",
    "429": "Waiting for LeadSquared",
    "Down": "Waiting for LeadSquared",
}


async def test_each_fault_switch_has_its_answer(page: Tab, shoot: Shoot) -> None:
    for number, (words, answer) in enumerate(FAULTS.items()):
        await fault(page, words)
        await command(page, f"/portal-activity 143 with fault number {number}")
        await page.reads("log", "", f"with fault number {number}")
        try:
            await thread(page, answer)
        except TimeoutError as error:
            raise AssertionError(words) from error
        await page.click("button", "Close thread")
    await shoot(page, "fault")
    await fault(page, "No fault")
