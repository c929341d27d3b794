"""The playground's page in a real browser, used as a person uses it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.chromium import Chromium, Tab
from support.pages import command, dialog, fault, go, playground, ready, shortcut, thread

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
    "400": "not recorded on ticket {ticket}",
    "404": "ticket {ticket}",
    "500": "LeadSquared couldn't record this on ticket {ticket}",
    "Hangs": "Check the ticket first",
    "Drops": "Check the ticket first",
    "Answers with HTML": "Check the ticket first",
    "429": "Waiting for LeadSquared's rate limit",
}


async def test_each_fault_switch_has_its_answer(page: Tab, shoot: Shoot) -> None:
    await fault(page, "Down")
    await command(page, "/portal-activity 144 while LeadSquared is down")
    await page.reads("log", "", "⏳ Recording a portal activity on ticket 144")
    await fault(page, "No fault")
    await thread(page, "Recorded on ticket 144")
    await page.click("button", "Close thread")
    for number, (words, answer) in enumerate(FAULTS.items(), 701):
        await fault(page, words)
        await command(page, f"/portal-activity {number} with fault number {number}")
        try:
            await thread(page, f"fault number {number}", answer.format(ticket=number))
        except TimeoutError as error:
            raise AssertionError(words) from error
        if number < 700 + len(FAULTS):
            await page.click("button", "Close thread")
    await shoot(page, "fault")
    await fault(page, "No fault")


async def test_what_failed_is_sent_again_by_its_button(page: Tab, shoot: Shoot) -> None:
    await fault(page, "500")
    await command(page, "/portal-activity 145 Customer paid the invoice")
    await thread(page, "LeadSquared couldn't record this on ticket 145", "Send again")
    await shoot(page, "send-again")
    await fault(page, "No fault")
    await page.click("button", "Send again", within=await page.get("complementary", "Thread"))
    await thread(page, "Recorded on ticket 145")


async def test_a_workspace_installs_the_bot_and_is_set_up_in_app_home(
    page: Tab, shoot: Shoot
) -> None:
    await page.click("button", "Install", within=await page.get("region", "Globex"))
    await page.reads("region", "Globex", "Remove the app")
    await page.click("button", "App Portal Activity", within=await page.get("region", "Globex"))
    await page.reads("region", "App Home", "isn't connected to LeadSquared")
    await page.click("button", "Connect LeadSquared")
    form = await dialog(page, "Connect LeadSquared")
    await page.write("Org ID", "Globex Ltd", within=form)
    await page.click("button", "Save", within=form)
    await page.reads("dialog", "Connect LeadSquared", "Enter the org ID")
    await page.click("button", "Fill in this workspace's account", within=form)

    async def filled() -> bool:
        return await (await page.get("textbox", "Org ID")).value() == "33935"

    await page.until(filled, "account in the form")
    await shoot(page, "setup")
    await page.click("button", "Save", within=await dialog(page, "Connect LeadSquared"))
    await page.reads("dialog", "", "is connected to LeadSquared org 33935")
    await page.press("Escape")
    await page.click("button", "App Portal Activity", within=await page.get("region", "Globex"))
    await page.reads("region", "App Home", "connected to LeadSquared org 33935")
    await shoot(page, "home")
    await go(page, "desk")
    await command(page, "/portal-activity 144 in Globex", "desk")
    await thread(page, "Recorded on ticket 144, activity ID 1")
    await page.click("tab", "Traffic")
    shown = await page.reads("tabpanel", "Traffic", "bot → LeadSquared", "slash_commands")
    opened = await page.evaluate(
        "document.querySelectorAll('.exchange').forEach((one) => { one.open = true; })"
        " ?? new Promise((done) => setTimeout(() => done(exchanges.textContent), 100))"
    )
    assert "X-LSQ-SECRET-KEY" in opened
    assert "globex-secret-key" not in opened
    assert "/api/tenants/33935/ticket/144/portal/activity" in shown
    await shoot(page, "traffic")


async def test_a_shared_channel_as_the_customer_sees_it(page: Tab, shoot: Shoot) -> None:
    await go(page, "customers")
    await command(page, "/portal-activity help", "customers")
    await page.reads("log", "", "Only visible to you", "records what a customer did")
    await page.choose("Acting as", "Carla")
    seen = await page.reads("navigation", "", "customers")
    assert "support" not in seen
    assert "Apps" not in seen
    shown = await page.reads("log", "Messages in #customers", "Here is the signed contract.")
    assert "Only visible to you" not in shown
    assert "cannot show hologram" in shown or "cannot show container" in shown
    await command(page, "Is there any news?", "customers")
    await page.reads("log", "", "Is there any news?")
    await shoot(page, "customer")


async def test_two_tabs_are_in_step(
    page: Tab, browser: Chromium, address: str, shoot: Shoot
) -> None:
    second = await browser.tab(address, dark=True)
    await ready(second)
    await command(page, "An ordinary message")
    await second.reads("log", "Messages in #support", "An ordinary message")
    await shortcut(second, "An ordinary message")
    await page.write("Ticket", "145", within=await dialog(page, "Record in LeadSquared"))

    async def typed() -> bool:
        return await (await second.get("textbox", "Text")).value() == "left by the first tab"

    await page.write("Text", "left by the first tab")
    await second.until(typed, "text that the other tab typed")
    await shoot(second, "second-tab")
    await page.close()  # in the middle of the form
    await second.click("button", "Record", within=await dialog(second, "Record in LeadSquared"))
    await second.reads("region", "LeadSquared of Initech", "left by the first tab")
    assert second.problems == []
    await second.close()


async def test_html_is_shown_and_never_run(page: Tab) -> None:
    evil = "<img src=x onerror=document.title='run'><script>document.title='run'</script> <b>&lt;"
    await command(page, evil)
    await page.reads("log", "", evil)
    await command(page, f"/portal-activity 143 {evil}")
    await thread(page, "Recorded on ticket 143")
    await page.reads("region", "LeadSquared of Initech", evil)
    await shortcut(page, f"{evil}\n")
    text = await page.get("textbox", "Text", within=await dialog(page, "Record in LeadSquared"))
    assert evil in await text.value()
    await page.press("Escape")
    assert "run" not in await page.evaluate("document.title")


async def test_two_thousand_messages_stay_quick(page: Tab) -> None:
    await go(page, "archive")
    await page.evaluate("document.querySelector('details.crowd').open = true")
    await page.click("button", "Say 2,000 messages here")
    await page.reads("log", "Messages in #archive", "Message 2,000 of many")
    took = await page.evaluate(
        """(async () => {
          const go = async (name) => {
            document.querySelector(`#places button[aria-label="Channel ${name}"]`).click();
            document.querySelector("#messages").getBoundingClientRect();
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          };
          await go("support");
          const before = performance.now();
          await go("archive");
          return performance.now() - before;
        })()"""
    )
    assert took < 1500, "milliseconds until the channel stands there"
    await page.write("Message #archive", "x")  # typing is not slow there
    assert await (await page.get("textbox", "Message #archive")).value() == "x"


async def test_the_bot_is_killed_and_restarted_and_loses_nothing(page: Tab) -> None:
    await page.click("button", "Kill")
    await page.reads("status", "", "The bot is stopped")
    await command(page, "/portal-activity 143 nobody hears")
    await page.reads("log", "", "failed with the error dispatch_failed")
    await page.choose("Reached by", "Socket Mode")
    await page.reads("status", "", "The bot is ready")
    await command(page, "/portal-activity 143 over a websocket")
    await thread(page, "Recorded on ticket 143")
    await page.click("tab", "Traffic")
    await page.reads("tabpanel", "Traffic", "Socket Mode slash_commands")
    await page.click("tab", "LeadSquared")
    await page.choose("Reached by", "Signed HTTP")
    await page.reads("status", "", "The bot starts…")
    await page.reads("status", "", "The bot is ready")


async def test_a_page_left_open_connects_again_when_the_playground_is_back(
    browser: Chromium, tmp_path: Path
) -> None:
    async with playground(tmp_path) as (address, _):
        page = await browser.tab(address)
        await page.reads("navigation", "", "support")
    await page.reads("alert", "", "The connection to the playground is lost")
    async with playground(tmp_path, int(address.rpartition(":")[2])):
        await page.reads("status", "", "The playground was started again")
        await page.reads("navigation", "", "support")
        assert await page.all("alert") == []
    await page.close()
