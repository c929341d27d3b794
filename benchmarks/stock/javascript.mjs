// The bot's job in stock Bolt for JavaScript: App on its HTTPReceiver, LeadSquared by fetch.
import bolt from "@slack/bolt";

const env = process.env;
const headers = {
  "Content-Type": "application/json",
  "X-LSQ-ACCESS-KEY": env.LEADSQUARED_ACCESS_KEY,
  "X-LSQ-SECRET-KEY": env.LEADSQUARED_SECRET_KEY,
};
const app = new bolt.App({
  token: env.SLACK_BOT_TOKEN,
  receiver: new bolt.HTTPReceiver({ signingSecret: env.SLACK_SIGNING_SECRET }),
  clientOptions: { slackApiUrl: env.SLACK_API_URL },
});

app.command("/portal-activity", async ({ ack, command, say }) => {
  await ack();
  const [, ticket, text] = command.text.match(/^(\S+) (.*)$/s);
  const path = `/api/tenants/${command.channel_id.slice(-3)}/ticket/${ticket}/portal/activity`;
  const body = JSON.stringify({ Text: text, Direction: "INBOUND" });
  const answer = await fetch(env.LEADSQUARED_API_URL + path, { method: "POST", headers, body });
  if (answer.ok) {
    await say(`✅ Recorded on ticket ${ticket}, activity ID ${(await answer.json()).Id}`);
  } else {
    await say(`❌ Not recorded on ticket ${ticket}: ${answer.status}`);
  }
});

await app.start({ port: Number(env.PORT), host: "127.0.0.1" });
