"""The bot's job in stock Bolt for Python, sync: App on threaded Flask, LeadSquared by httpx."""

import os
from typing import Any

import flask  # type: ignore[import-not-found]  # only the benchmark's environment has it
import httpx
from slack_bolt import Ack, App, Say
from slack_bolt.adapter.flask import SlackRequestHandler
from slack_sdk import WebClient

app = App(
    client=WebClient(os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]),
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
)
leadsquared = httpx.Client(
    base_url=os.environ["LEADSQUARED_API_URL"],
    headers={
        "X-LSQ-ACCESS-KEY": os.environ["LEADSQUARED_ACCESS_KEY"],
        "X-LSQ-SECRET-KEY": os.environ["LEADSQUARED_SECRET_KEY"],
    },
    timeout=15,
)
server = flask.Flask(__name__)
handler = SlackRequestHandler(app)


@app.command("/portal-activity")
def record(ack: Ack, command: dict[str, Any], say: Say) -> None:
    ack()
    ticket, _, text = command["text"].partition(" ")
    path = f"/api/tenants/{command['channel_id'][-3:]}/ticket/{ticket}/portal/activity"
    answer = leadsquared.post(path, json={"Text": text, "Direction": "INBOUND"})
    if answer.status_code == 200:
        say(f"✅ Recorded on ticket {ticket}, activity ID {answer.json()['Id']}")
    else:
        say(f"❌ Not recorded on ticket {ticket}: {answer.status_code}")


def events() -> flask.Response:
    return handler.handle(flask.request)


server.add_url_rule("/slack/events", view_func=events, methods=["POST"])

if __name__ == "__main__":
    server.run("127.0.0.1", int(os.environ["PORT"]), threaded=True)
