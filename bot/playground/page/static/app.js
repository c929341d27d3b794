// The playground's page. It shows what the server says stands in Slack and LeadSquared, and sends
// back what a person does. Every text becomes a text node: nothing of it is ever read as HTML.

const TOKEN = document.querySelector('meta[name="playground-token"]').content;
const byId = (id) => document.getElementById(id);

// -- elements

/** Make an element: h("button", { class: "x", onclick }, "words", child). */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && !name.includes("-")) element[name] = value;
    else element.setAttribute(name === "class" ? "class" : name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const button = (label, onclick, properties = {}) =>
  h("button", { type: "button", onclick, ...properties }, label);

/** Let a container hold these nodes in this order, and move none that stands already. */
function arrange(container, nodes) {
  let next = container.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else container.insertBefore(node, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

let ids = 0;
const newId = () => `e${(ids += 1)}`;

// -- what the server says

const values = new Map(); // by key, such as "message/C0SUPPORT/1790000000.000001"
let hint = { command: "/portal-activity", usage: "", says: "", shortcut: "Record in LeadSquared" };
let faults = {};
let run = null;

const all = (kind) =>
  [...values].filter(([key]) => key.startsWith(`${kind}/`)).map(([, value]) => value);
const workspaces = () => all("workspace");
const workspaceOf = (team) => values.get(`workspace/${team}`);
const bot = () => values.get("bot") ?? { state: "starting", transport: "http" };

function follow() {
  const source = new EventSource("/events");
  source.addEventListener("hello", (event) => {
    const hello = JSON.parse(event.data);
    if (run !== null && run !== hello.run) {
      sessionStorage.setItem("says", "The playground was started again, with nothing in it yet.");
      location.reload();
      return;
    }
    if (!byId("banner").hidden) say("Connected again.");
    ({ run, hint, faults } = hello);
    values.clear();
    byId("banner").hidden = true;
  });
  source.addEventListener("changes", (event) => {
    const { set, gone } = JSON.parse(event.data);
    for (const key of gone) values.delete(key);
    for (const [key, value] of Object.entries(set)) values.set(key, value);
    show(new Set([...gone, ...Object.keys(set)].map((key) => key.split("/")[0])));
  });
  source.addEventListener("error", () => {
    byId("banner").textContent =
      "The connection to the playground is lost. This page connects again when it is back.";
    byId("banner").hidden = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 1000);
  });
}

/** Do something in the playground; a refusal is shown, and comes back as { error }. */
async function act(what, more = {}) {
  let answer;
  try {
    const response = await fetch("/act", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Playground-Token": TOKEN },
      body: JSON.stringify({ do: what, person: here.person, ...more }),
    });
    answer = await response.json();
  } catch {
    answer = { error: "The playground can't be reached. Is it still running?" };
  }
  if (answer.error) say(answer.error, "wrong");
  return answer;
}

/** Say something for some seconds, also to a screen reader. */
function say(words, kind = "fine") {
  const note = h("p", { class: `note ${kind}`, role: kind === "wrong" ? "alert" : "status" }, words);
  document.body.append(note);
  setTimeout(() => note.remove(), 6000);
}

// -- where this tab is

const here = {
  person: null,
  team: null,
  channel: "", // "": any; null: in the app's own pages
  tab: "home", // there: "home" or "messages"
  thread: null, // the ts of its first message
  dock: "leadsquared",
  ...JSON.parse(sessionStorage.getItem("here") ?? "{}"),
};

function go(changes) {
  const moved = ["person", "team", "channel"].some(
    (name) => name in changes && changes[name] !== here[name],
  );
  if (moved && !("thread" in changes)) changes.thread = null;
  Object.assign(here, changes);
  sessionStorage.setItem("here", JSON.stringify(here));
  show();
  if (moved) toEnd(byId("messages"));
}

const person = (id = here.person, team = here.team) =>
  workspaceOf(team)?.people.find((one) => one.id === id);
const channelOf = (team, id) => workspaceOf(team)?.channels.find((one) => one.id === id);
const sees = (someone, channel) => !someone?.foreign || channel.guests.includes(someone.id);

/** Stand somewhere that there is. */
function settle() {
  const found = workspaces();
  if (!found.length) return;
  if (!workspaceOf(here.team)) here.team = found[0].id;
  if (!person()) here.person = workspaceOf(here.team).people[0].id;
  const seen = workspaceOf(here.team).channels.filter((one) => sees(person(), one));
  if (here.channel !== null && !seen.some((one) => one.id === here.channel)) {
    here.channel = seen[0]?.id ?? null;
    here.thread = null;
  }
  if (here.channel === null && person().foreign) here.channel = seen[0]?.id ?? null;
}

// -- Slack's texts

const SAFE_LINK = /^(https?:|mailto:|tel:|slack:)/i;
const unescape = (text) =>
  text.replace(/&(lt|gt|amp);/g, (_, name) => ({ lt: "<", gt: ">", amp: "&" })[name]);

function link(url, label) {
  url = unescape(url);
  const archive = url.match(/\/archives\/(\w+)\/p(\d+)(?:\?thread_ts=([\d.]+))?/);
  if (archive) {
    const ts = archive[3] ?? `${archive[2].slice(0, -6)}.${archive[2].slice(-6)}`;
    return button(label, () => openThread(archive[1], ts), { class: "link" });
  }
  if (!SAFE_LINK.test(url)) return label;
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, label);
}

function nameOf(id) {
  for (const workspace of workspaces()) {
    const found =
      workspace.people.find((one) => one.id === id)?.name ??
      (workspace.bot_user === id ? "Portal Activity" : null) ??
      workspace.groups[id];
    if (found) return found;
  }
  return null;
}

const mention = (words) => h("span", { class: "mention" }, words);

function channelName(id) {
  const found = workspaces().flatMap((one) => one.channels).find((one) => one.id === id);
  return found?.name ?? null;
}

function date(seconds, format) {
  const moment = new Date(Number(seconds) * 1000);
  const day = moment.toLocaleDateString(undefined, { dateStyle: "medium" });
  const clock = (more) => moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...more });
  const minutes = Math.round((Date.now() - moment) / 60000);
  const hours = Math.round(minutes / 60);
  const ago =
    minutes < 1 ? "just now" : minutes < 60 ? `${minutes} min ago` : hours < 48 ? `${hours} h ago` : day;
  const pieces = {
    time: clock(), time_secs: clock({ second: "2-digit" }), ago,
    date_num: moment.toISOString().slice(0, 10),
  };
  const words = format.replace(/\{(\w+)\}/g, (_, name) => pieces[name] ?? day);
  return h("time", { dateTime: moment.toISOString(), title: moment.toLocaleString() }, words);
}

/** What stands between < and > in Slack's text. */
function entity(inside) {
  const [what, ...rest] = inside.split("|");
  const label = rest.length ? unescape(rest.join("|")) : null;
  if (what.startsWith("@")) return mention(`@${nameOf(what.slice(1)) ?? label ?? what.slice(1)}`);
  if (what.startsWith("#")) return mention(`#${channelName(what.slice(1)) ?? label ?? what.slice(1)}`);
  if (what.startsWith("!date^")) {
    const [, seconds, format, url] = what.split("^");
    const shown = date(seconds, format);
    return url ? link(url, shown) : shown;
  }
  if (what.startsWith("!subteam^")) return mention(label ?? `@${nameOf(what.slice(9)) ?? what.slice(9)}`);
  if (what.startsWith("!")) return mention(label ?? `@${what.slice(1)}`);
  return link(what, label ?? unescape(what).replace(/^mailto:/, ""));
}

const INLINE =
  /<([^<>\n]+)>|`([^`\n]+)`|(?<![\w*])\*(\S|\S[^*\n]*\S)\*(?![\w*])|(?<![\w_])_(\S|\S[^_\n]*\S)_(?![\w_])|(?<![\w~])~(\S|\S[^~\n]*\S)~(?![\w~])/g;

function inline(text) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > from) nodes.push(unescape(text.slice(from, found.index)));
    from = found.index + found[0].length;
    const [, inside, code, bold, italic, struck] = found;
    if (inside !== undefined) nodes.push(entity(inside));
    else if (code !== undefined) nodes.push(h("code", {}, unescape(code)));
    else if (bold !== undefined) nodes.push(h("strong", {}, inline(bold)));
    else if (italic !== undefined) nodes.push(h("em", {}, inline(italic)));
    else nodes.push(h("s", {}, inline(struck)));
  }
  if (from < text.length) nodes.push(unescape(text.slice(from)));
  return nodes;
}

/** Slack's markup as nodes. */
function mrkdwn(text) {
  const nodes = [];
  for (const [number, part] of String(text ?? "").split("```").entries()) {
    if (number % 2) {
      nodes.push(h("pre", {}, unescape(part.replace(/^\n|\n$/g, ""))));
      continue;
    }
    let quoted = null;
    for (const line of part.split("\n")) {
      const quote = line.match(/^(?:>|&gt;) ?(.*)$/);
      if (quote) {
        if (!quoted) nodes.push((quoted = h("blockquote")));
        else quoted.append("\n");
        quoted.append(...inline(quote[1]));
      } else {
        if (!quoted && nodes.length) nodes.push("\n");
        quoted = null;
        nodes.push(...inline(line));
      }
    }
  }
  return nodes;
}

const text = (object) =>
  !object ? [] : typeof object === "string" ? [object]
  : object.type === "mrkdwn" ? mrkdwn(object.text) : [String(object.text ?? "")];

const unknown = (type) => h("p", { class: "unknown" }, `cannot show ${type}`);

// -- rich text, as people write it

function rich(element) {
  const inside = () => (element.elements ?? []).flatMap(word);
  switch (element.type) {
    case "rich_text_section": return [h("div", {}, inside())];
    case "rich_text_quote": return [h("blockquote", {}, inside())];
    case "rich_text_preformatted": return [h("pre", {}, inside())];
    case "rich_text_list": {
      const items = (element.elements ?? []).map((one) => h("li", {}, (one.elements ?? []).flatMap(word)));
      return [h(element.style === "ordered" ? "ol" : "ul", { class: `indent-${element.indent ?? 0}` }, items)];
    }
    default: return [unknown(element.type)];
  }
}

function word(one) {
  const styled = (node) => {
    const { bold, italic, strike, code } = one.style ?? {};
    if (code) node = h("code", {}, node);
    if (bold) node = h("strong", {}, node);
    if (italic) node = h("em", {}, node);
    if (strike) node = h("s", {}, node);
    return [node];
  };
  switch (one.type) {
    case "text": return styled(one.text);
    case "link": return styled(link(one.url, one.text || one.url));
    case "user": case "canvas_user_mention": return [mention(`@${nameOf(one.user_id) ?? one.user_id}`)];
    case "usergroup": return [mention(`@${nameOf(one.usergroup_id) ?? one.usergroup_id}`)];
    case "channel": return [mention(`#${channelName(one.channel_id) ?? one.channel_id}`)];
    case "broadcast": return [mention(`@${one.range}`)];
    case "date": return [one.fallback ?? date(one.timestamp, one.format ?? "{date}")];
    case "emoji": return [emoji(one)];
    case "canvas": case "file": return [h("span", { class: "file" }, one.label ?? `[${one.type}]`)];
    default: return [h("span", { class: "unknown" }, `cannot show ${one.type}`)];
  }
}

function emoji(one) {
  const codes = (one.unicode ?? "").split("-").map((code) => Number.parseInt(code, 16));
  return codes.every((code) => code > 0 && code <= 0x10ffff) ? String.fromCodePoint(...codes) : `:${one.name}:`;
}

// -- Block Kit

/** A block as nodes. `press(element, block)` is called for a button. */
function block(one, press, field = null) {
  switch (one.type) {
    case "section":
      return h("div", { class: "section" },
        h("div", { class: "words" },
          one.text ? h("div", {}, text(one.text)) : null,
          one.fields ? h("div", { class: "fields" }, one.fields.map((each) => h("div", {}, text(each)))) : null),
        one.accessory ? element(one.accessory, one, press) : null);
    case "header": return h("h3", {}, text(one.text));
    case "context":
      return h("div", { class: "context" },
        one.elements.map((each) => each.type === "mrkdwn" || each.type === "plain_text"
          ? h("span", {}, text(each)) : element(each, one, press)));
    case "divider": return h("hr");
    case "actions": return h("div", { class: "actions" }, one.elements.map((each) => element(each, one, press)));
    case "rich_text": return h("div", { class: "rich" }, one.elements.flatMap(rich));
    case "markdown": return h("div", {}, mrkdwn(one.text));
    case "image": return picture(one);
    case "table": case "data_table": return table(one);
    case "input": return field ? field(one) : unknown("input here");
    default: return unknown(one.type);
  }
}

function element(one, of, press) {
  switch (one.type) {
    case "button":
      return button(text(one.text)[0], () => press(one, of), { class: `block-button ${one.style ?? ""}` });
    case "image": return picture(one);
    default: return unknown(one.type);
  }
}

const picture = (one) => h("span", { class: "file", role: "img", "aria-label": one.alt_text ?? "image" },
  `🖼 ${one.alt_text ?? "image"}`); // the page loads nothing from other places

function table(one) {
  const cell = (each) => each?.type === "rich_text" ? h("div", {}, each.elements.flatMap(rich))
    : String(each?.text ?? each?.value ?? "");
  const [head, ...rows] = one.rows ?? [];
  return h("table", {},
    one.caption ? h("caption", {}, one.caption) : null,
    h("thead", {}, h("tr", {}, (head ?? []).map((each) => h("th", { scope: "col" }, cell(each))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((each) => h("td", {}, cell(each)))))));
}

// -- messages

const messages = new Map(); // key -> { value, node }

const mine = (message) => message.only === null || message.only === here.person;

function messagesHere() {
  const places = here.channel !== null ? [here.channel] : [here.person, `D${here.person}`];
  return [...values]
    .filter(([key, value]) => key.startsWith("message/") && places.includes(value.channel) && mine(value))
    .sort(([, one], [, other]) => (one.ts < other.ts ? -1 : one.ts > other.ts ? 1 : 0));
}

function node(key, value, replies) {
  const known = messages.get(key);
  const count = replies?.length ?? 0;
  const fingerprint = `${here.person} ${count} ${replies?.at(-1)?.ts ?? ""}`;
  if (known?.value === value && known.fingerprint === fingerprint) return known.node;
  const fresh = message(key, value, replies);
  if (known?.node.contains(document.activeElement)) {
    const label = document.activeElement.textContent;
    const again = () => [...fresh.querySelectorAll("button")].find((one) => one.textContent === label);
    queueMicrotask(() => (again() ?? byId(value.thread_ts ? "replies" : "messages")).focus({ preventScroll: true }));
  }
  messages.set(key, { value, fingerprint, node: fresh });
  return fresh;
}

function message(key, value, replies) {
  const moment = new Date(Number(value.ts.split(".")[0]) * 1000);
  const press = (one) => act("click", { message: key, action_id: one.action_id });
  const shown = value.blocks.length ? value.blocks.map((one) => block(one, press)) : h("div", {}, mrkdwn(value.text));
  const initials = value.author.split(/\s+/).map((part) => part[0]).slice(0, 2).join("").toUpperCase();
  return h("article", { class: `message${value.only ? " only" : ""}`, "aria-label": `Message from ${value.author}` },
    h("span", { class: `avatar hue-${hue(value.author)}${value.bot ? " bot" : ""}`, "aria-hidden": "true" }, value.bot ? "✓" : initials),
    h("div", { class: "content" },
      value.only ? h("p", { class: "only-you" }, "Only visible to you") : null,
      h("p", { class: "by" },
        h("strong", {}, value.author),
        value.app ? h("span", { class: "app" }, "APP") : null,
        h("time", { dateTime: moment.toISOString(), title: moment.toLocaleString() },
          moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" }))),
      h("div", { class: "body" }, shown,
        value.edited ? h("span", { class: "edited" }, " (edited)") : null),
      value.reactions.map((name) => h("span", { class: "reaction" }, name === "white_check_mark" ? "✅" : `:${name}:`)),
      value.files.map(file), value.attachments.map(attachment),
      replies?.length
        ? button(counted(replies.filter((one) => one.only === null).length),
            () => openThread(value.channel, value.ts), { class: "link replies" })
        : null),
    menu(key, value));
}

/** Slack counts what everybody sees. */
const counted = (number) => number === 0 ? "View thread" : `${number} ${number === 1 ? "reply" : "replies"}`;

const hue = (name) => [...name].reduce((sum, letter) => sum + letter.codePointAt(0), 0) % 6;

function file(one) {
  const more = one.plain_text ?? one.preview ?? one.transcription?.preview?.content;
  return h("p", { class: "file" }, `📎 ${one.title ?? one.name ?? "file"}`, more ? h("span", {}, `: ${more}`) : null);
}

function attachment(one) {
  const inner = [...(one.blocks ?? []), ...(one.message_blocks ?? []).flatMap((each) => each.message?.blocks ?? [])];
  const title = one.title && one.title_link ? link(one.title_link, one.title) : one.title;
  return h("div", { class: "attachment" },
    one.author_name ? h("p", {}, h("strong", {}, one.author_name)) : null,
    title ? h("p", {}, title) : null,
    one.text ? h("div", {}, mrkdwn(one.text)) : null,
    inner.map((each) => block(each, () => say("Only Portal Activity's buttons do something here."))),
    (one.files ?? []).map(file));
}

/** The menu of a message, with the shortcut. */
function menu(key, value) {
  const items = () => [
    value.only || value.deleted ? null : [hint.shortcut, () => act("shortcut", { message: key }), "Portal Activity"],
    value.only ? ["Dismiss message", () => act("dismiss", { message: key })]
      : ["Reply in thread", () => { openThread(value.channel, value.thread_ts ?? value.ts); byId("reply").querySelector("textarea")?.focus(); }],
    ["Show as JSON", () => showJson(value)],
  ].filter(Boolean);
  const opener = button("⋯", () => (list.hidden ? open() : close()), {
    class: "more", "aria-label": "More actions", "aria-haspopup": "menu", "aria-expanded": "false",
  });
  const list = h("div", { role: "menu", class: "menu", hidden: true, onkeydown: (event) => {
    const all = [...list.children];
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined) all.at(to % all.length).focus();
    else if (event.key === "Escape") { close(); opener.focus(); }
    else if (event.key === "Tab") close();
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  } });
  const leave = (event) => { if (!list.parentElement?.contains(event.target)) close(); };
  function open() {
    list.replaceChildren(...items().map(([label, chosen, by]) => button(label, () => { close(); opener.focus(); chosen(); },
      { role: "menuitem", tabIndex: -1, "aria-description": by })));
    list.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    const below = opener.getBoundingClientRect().bottom + 140 < innerHeight;
    list.classList.toggle("above", !below);
    list.firstElementChild.focus();
    document.addEventListener("pointerdown", leave);
  }
  function close() {
    list.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", leave);
  }
  return h("div", { class: "tools" }, opener, list);
}

function showJson(value) {
  const title = newId();
  const dialog = h("dialog", { class: "modal json", "aria-labelledby": title, onclose: () => dialog.remove() },
    h("header", {}, h("h2", { id: title }, "Message as JSON"), button("✕", () => dialog.close(), { "aria-label": "Close" })),
    h("pre", { tabIndex: 0 }, JSON.stringify(value, null, 2)));
  byId("dialogs").append(dialog);
  dialog.showModal();
}

function openThread(channel, ts) {
  const team = workspaces().find((one) => one.channels.some((each) => each.id === channel))?.id;
  if (!team) { say("That conversation isn't part of the playground."); return; }
  const someone = workspaceOf(team).people.find((one) => one.id === here.person) ?? workspaceOf(team).people[0];
  go({ team, person: someone.id, channel, thread: ts });
}

const isAtEnd = (list) => list.scrollHeight - list.scrollTop - list.clientHeight < 60;

/** Scroll to the end. The height of what was out of sight is known only once it is in sight. */
function toEnd(list, frames = 4) {
  list.scrollTop = list.scrollHeight;
  if (frames > 0) requestAnimationFrame(() => toEnd(list, frames - 1));
}

function showMessages() {
  const log = byId("messages");
  const atEnd = isAtEnd(log);
  const found = messagesHere();
  const replies = new Map();
  for (const [, value] of found) {
    if (!value.thread_ts) continue;
    if (!replies.has(value.thread_ts)) replies.set(value.thread_ts, []);
    replies.get(value.thread_ts).push(value);
  }
  const top = found.filter(([, value]) => !value.thread_ts);
  expectAnswer(found);
  arrange(log, top.length
    ? top.map(([key, value]) => node(key, value, replies.get(value.ts)))
    : [empty(here.channel === null ? "Portal Activity hasn't written to you yet." : "No messages here yet. Try the command below.")]);
  if (atEnd) toEnd(log);
  showThread(found);
  forgetGone();
}

const empty = (words) => h("p", { class: "empty" }, words);

function showThread(found) {
  const list = byId("replies");
  const inThread = here.thread === null ? []
    : found.filter(([, value]) => value.ts === here.thread || value.thread_ts === here.thread);
  const atEnd = isAtEnd(list);
  arrange(list, inThread.length
    ? inThread.map(([key, value]) => threadNode(key, value))
    : [empty("Open a thread: choose “1 reply” below a message. The bot answers in threads.")]);
  if (atEnd) toEnd(list);
  byId("close-thread").hidden = here.thread === null;
  byId("reply").hidden = here.thread === null || here.channel === null;
}

/** The first message of a thread stands in the channel, too: it has a node for each place. */
function threadNode(key, value) {
  if (value.thread_ts) return node(key, value, null);
  const inThread = `thread ${key}`;
  const known = messages.get(inThread);
  if (known?.value === value && known.fingerprint === here.person) return known.node;
  const fresh = message(key, value, null);
  messages.set(inThread, { value, fingerprint: here.person, node: fresh });
  return fresh;
}

function forgetGone() {
  for (const key of messages.keys()) if (!values.has(key.replace("thread ", ""))) messages.delete(key);
}

let expected = null; // after something was recorded in this tab: { after, fresh }

/** Open the thread in which the bot answers what this tab has just recorded. */
function expectAnswer(found) {
  if (expected === null) return;
  const { after, fresh } = expected;
  const answer = found.findLast(([, one]) => one.bot && one.thread_ts && one.ts > after && (!fresh || one.thread_ts > after));
  if (answer) {
    here.thread = answer[1].thread_ts;
    expected = null;
  }
}

/** Expect an answer, in a fresh thread or in any, where this tab has no thread open. */
function expect(fresh) {
  const after = messagesHere().at(-1)?.[1].ts ?? "";
  expected = here.thread === null ? { after, fresh } : null;
}

// -- the composer

const typed = JSON.parse(sessionStorage.getItem("typed") ?? "[]"); // what was sent, newest last

function composer(form, inThread) {
  const note = h("p", { class: "hint", id: newId(), hidden: true });
  const area = h("textarea", { rows: 1, maxLength: 12000, "aria-describedby": note.id, spellcheck: true });
  let at = typed.length;
  const describe = () => {
    const command = area.value.startsWith("/");
    const known = command && hint.command.startsWith(area.value.split(/\s/)[0]);
    note.hidden = !command;
    note.replaceChildren(...(inThread && command
      ? ["Slack has no commands in threads. Type it in the channel."]
      : known ? [h("strong", {}, hint.command), ` ${hint.usage}`, h("span", {}, hint.says)]
      : [`The bot's command is ${hint.command}`]));
  };
  const put = (words) => { area.value = words; area.setSelectionRange(words.length, words.length); describe(); };
  const send = async () => {
    const words = area.value.trim();
    if (!words || (inThread && words.startsWith("/"))) return;
    if (typed.at(-1) !== words) typed.push(words);
    sessionStorage.setItem("typed", JSON.stringify(typed.slice(-50)));
    at = typed.length;
    put("");
    const command = words.startsWith("/") && !inThread;
    if (command) expect(true);
    if (!inThread) toEnd(byId("messages"));
    const answer = await act(command ? "command" : "say",
      { channel: here.channel, text: words, thread_ts: inThread ? here.thread : null });
    if (answer.error && !area.value) put(words);
  };
  area.addEventListener("input", describe);
  area.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const browsing = area.value === "" || area.value === typed[at];
    if (event.key === "Enter" && !event.shiftKey) send();
    else if (event.key === "Tab" && area.value.length > 0 && hint.command.startsWith(area.value) && area.value !== hint.command && !inThread) put(`${hint.command} `);
    else if (event.key === "ArrowUp" && browsing && at > 0) put(typed[(at -= 1)]);
    else if (event.key === "ArrowDown" && browsing && at < typed.length) put(typed[(at += 1)] ?? "");
    else return;
    event.preventDefault();
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
  form.append(note, h("div", { class: "box" }, area, h("button", { type: "submit", class: "send", "aria-label": inThread ? "Send reply" : "Send message" }, "➤")));
  return { area, put };
}

const writing = composer(byId("composer"), false);
const replying = composer(byId("reply"), true);
replying.area.setAttribute("aria-label", "Reply in thread");
replying.area.placeholder = "Reply…";

// -- the left side

function showPlaces() {
  const focused = byId("places").contains(document.activeElement) ? document.activeElement.dataset.is : null;
  const shown = person().foreign ? [workspaceOf(here.team)] : workspaces();
  arrange(byId("places"), shown.map((workspace) => {
    const someone = workspace.people.find((one) => one.id === here.person) ?? workspace.people[0];
    const place = (channel, label, name) => button(label,
      () => { go({ team: workspace.id, person: someone.id, channel, tab: "home" }); if (channel === null) act("home"); },
      { "aria-current": here.team === workspace.id && here.channel === channel ? "page" : null, "aria-label": name,
        "data-is": `${workspace.id} ${name}` });
    const seen = workspace.channels.filter((one) => sees(someone, one));
    return h("section", { "aria-label": workspace.name },
      h("h2", {}, workspace.name,
        workspace.enterprise ? h("span", { class: "of" }, "in an Enterprise Grid") : null),
      h("ul", {}, seen.map((channel) => h("li", {},
        place(channel.id, `${channel.direct ? "@" : "#"} ${channel.name}`, `${channel.direct ? "Direct message" : "Channel"} ${channel.name}`)))),
      someone.foreign ? null : h("h3", {}, "Apps"),
      someone.foreign ? null : workspace.installed
        ? h("ul", {}, h("li", {}, place(null, "✓ Portal Activity", "App Portal Activity")))
        : h("p", {}, "Portal Activity isn't installed here."),
      someone.foreign ? null : h("div", { class: "install" }, workspace.installed
        ? button("Remove the app", () => installing("uninstall", workspace))
        : [button("Install", () => installing("install", workspace)),
           workspace.enterprise ? button("Install in the organisation", () => installing("install", workspace, true)) : null]));
  }));
  byId("places").append(h("details", { class: "crowd" }, h("summary", {}, "Try with many"),
    button("Say 2,000 messages here", () => here.channel === null ? say("Go to a channel first.") : act("crowd", { channel: here.channel, number: 2000 }))));
  if (focused) [...byId("places").querySelectorAll("button")].find((one) => one.dataset.is === focused)?.focus();
}

async function installing(what, workspace, everywhere = false) {
  const answer = await act(what, { team: workspace.id, everywhere });
  if (answer.says) say(answer.says);
}

function showPeople() {
  const select = byId("person");
  if (select.matches(":focus")) return; // not while it is being used
  select.replaceChildren(...workspaces().map((workspace) => h("optgroup", { label: workspace.name },
    workspace.people.map((one) => h("option", { value: `${workspace.id} ${one.id}` }, `${one.name}, ${one.role}`)))));
  select.value = `${here.team} ${here.person}`;
}

byId("person").addEventListener("change", (event) => {
  const [team, id] = event.target.value.split(" ");
  go({ team, person: id, ...(team === here.team ? { thread: null } : { channel: "" }) });
  if (here.channel === null) act("home");
});

function showPlace() {
  const channel = channelOf(here.team, here.channel);
  const inApp = here.channel === null;
  byId("place-name").textContent = inApp ? "Portal Activity" : channel ? `${channel.direct ? "@" : "#"}${channel.name}` : "";
  const outside = (channel?.guests ?? []).map((id) => person(id)?.name).filter(Boolean);
  byId("place-note").replaceChildren(...(inApp ? [appTab("home", "Home"), appTab("messages", "Messages")]
    : [channel?.note ?? "", outside.length && !channel.direct ? h("span", { class: "shared" }, `Shared with ${outside.join(", ")}`) : ""]));
  byId("home").hidden = !inApp || here.tab !== "home";
  byId("messages").hidden = inApp && here.tab === "home";
  byId("composer").hidden = inApp;
  byId("messages").setAttribute("aria-label", inApp ? "Messages from Portal Activity" : `Messages in #${channel?.name}`);
  const label = `Message ${channel?.direct ? "" : "#"}${channel?.name}`;
  writing.area.setAttribute("aria-label", label);
  writing.area.placeholder = `${label}, or ${hint.command} 143 hello`;
  document.title = `${byId("place-name").textContent} · Portal Activity playground`;
}

const appTab = (tab, label) => button(label, () => go({ tab }), { class: "tab", "aria-pressed": String(here.tab === tab) });

// -- App Home

let homeShown = null;

function showHome() {
  const view = values.get(`home/${here.person}`);
  const home = byId("home");
  if (here.channel !== null || home.hidden || (homeShown === view && view)) return;
  homeShown = view;
  const press = (one, of) => act("act", { view_id: view.id, action_id: one.action_id, block_id: of.block_id ?? "b1" });
  home.replaceChildren(...(view ? view.blocks.map((one) => block(one, press)) : [empty("The bot hasn't published this page yet.")]));
}

// -- forms

const dialogs = new Map(); // view id -> { dialog, hash, fields }

function showModals() {
  const open = all("modal").filter((one) => one.person === null || one.person === here.person)
    .sort((one, other) => one.order - other.order);
  for (const [id, known] of dialogs) {
    if (open.some((one) => one.view.id === id)) continue;
    known.over = true;
    known.dialog.close();
    known.dialog.remove();
    dialogs.delete(id);
  }
  for (const one of open) showModal(one);
}

function showModal({ view, values: left }) {
  let known = dialogs.get(view.id);
  if (!known) {
    const dialog = h("dialog", { class: "modal" });
    known = { dialog, hash: null, fields: new Map() };
    dialogs.set(view.id, known);
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); act("close", { view_id: view.id }); });
    byId("dialogs").append(dialog);
    fillDialog(known, view, left);
    dialog.showModal();
    firstField(known)?.focus();
  } else if (known.hash !== view.hash) {
    const focused = [...known.fields].find(([, field]) => field.node.contains(document.activeElement));
    const kept = Object.fromEntries([...known.fields].filter(([, one]) => one.waiting).map(([id, one]) => [id, one.get()]));
    fillDialog(known, view, { ...left, ...kept });
    (known.fields.get(focused?.[0])?.node.querySelector("input, textarea, select") ?? firstField(known))?.focus();
  } else {
    for (const [id, field] of known.fields) {
      if (!field.waiting) field.set(left[id]);
    }
  }
}

const firstField = (known) => known.dialog.querySelector(".field input, .field textarea, .field select")
  ?? known.dialog.querySelector("footer button, header button");

function fillDialog(known, view, left) {
  const { dialog } = known;
  const title = newId();
  known.hash = view.hash;
  known.fields = new Map();
  const press = (one, of) => act("act", { view_id: view.id, action_id: one.action_id, block_id: of.block_id ?? "b1" });
  const isSetup = view.callback_id === "setup";
  const close = () => act("close", { view_id: view.id });
  const form = h("form", { novalidate: "", onsubmit: (event) => { event.preventDefault(); submit(known, view); } },
    h("header", {}, h("h2", { id: title }, text(view.title)), button("✕", close, { "aria-label": "Close" })),
    h("div", { class: "blocks" },
      isSetup ? h("p", { class: "helper" }, "In the playground: ",
        button("Fill in this workspace's account", () => { untell(known); act("fill_account", { view_id: view.id }); }, { class: "link" })) : null,
      view.blocks.map((one) => block(one, press, (input) => fieldFor(known, view, input, left[input.block_id])))),
    h("footer", {},
      h("p", { class: "failed", role: "alert" }),
      button(text(view.close)[0] ?? "Cancel", close),
      view.submit ? h("button", { type: "submit", class: "primary" }, text(view.submit)) : null));
  dialog.setAttribute("aria-labelledby", title);
  dialog.replaceChildren(form);
}

/** Tell nothing of what was typed just now: what comes next says it, or replaces it. */
function untell(known) {
  for (const field of known.fields.values()) {
    clearTimeout(field.waiting);
    field.waiting = null;
    field.complain("");
  }
}

async function submit(known, view) {
  untell(known);
  const send = {}; // what was not touched keeps its value: it is not sent as empty
  for (const [id, field] of known.fields) if (field.changed && field.get() !== null) send[id] = field.get();
  const submitter = known.dialog.querySelector("[type=submit]");
  submitter.disabled = true;
  expect(false);
  const answer = await act("submit", { view_id: view.id, values: send });
  submitter.disabled = false;
  for (const [id, field] of known.fields) field.complain(answer.errors?.[id] ?? "");
  const wrong = Object.keys(answer.errors ?? {});
  known.dialog.querySelector(".failed").textContent = answer.error ?? wrong.filter((id) => !known.fields.has(id)).map((id) => answer.errors[id]).join(" ");
  if (wrong.length) known.fields.get(wrong[0])?.node.querySelector("input, textarea, select")?.focus();
}

/** An input with its label, hint and error. It tells the stand-in what was typed as it is typed. */
function fieldFor(known, view, of, value) {
  const one = of.element;
  const id = newId();
  const hintId = newId();
  const errorId = newId();
  const made = control(one, id, `${hintId} ${errorId}`);
  if (!made) return unknown(one.type);
  const error = h("p", { class: "error", id: errorId });
  const label = [...text(of.label), of.optional ? h("span", { class: "optional" }, " (optional)") : ""];
  const body = [made.node, of.hint ? h("p", { class: "hint", id: hintId }, text(of.hint)) : h("span", { id: hintId }), error];
  const node = made.group
    ? h("fieldset", { class: "field" }, h("legend", {}, label), body)
    : h("div", { class: "field" }, h("label", { htmlFor: id }, label), body);
  const field = {
    node, waiting: null, changed: false, get: made.get, set: made.set,
    complain(words) {
      error.textContent = words;
      for (const each of node.querySelectorAll("input, textarea, select")) each.setAttribute("aria-invalid", String(Boolean(words)));
    },
  };
  const tell = async () => {
    const sent = made.get();
    await act("fill", { view_id: view.id, block_id: of.block_id, value: sent });
    if (JSON.stringify(sent) === JSON.stringify(made.get())) field.waiting = null;
  };
  node.addEventListener("input", (event) => {
    field.changed = true;
    field.complain("");
    clearTimeout(field.waiting);
    field.waiting = setTimeout(tell, made.group || event.target.tagName === "SELECT" ? 0 : 250);
  });
  made.set(value);
  known.fields.set(of.block_id, field);
  return node;
}

/** What one types or chooses in: { node, get, set, group }; null for what the page doesn't know. */
function control(one, id, described) {
  const common = { id, "aria-describedby": described };
  const input = (node) => ({ node, get: () => node.value, set: (value) => { if (node.value !== (value ?? "")) node.value = value ?? ""; } });
  switch (one.type) {
    case "plain_text_input":
      return input(one.multiline
        ? h("textarea", { ...common, rows: 6, maxLength: one.max_length ?? 3000, placeholder: text(one.placeholder)[0] ?? "" })
        : h("input", { ...common, type: "text", maxLength: one.max_length ?? 3000, placeholder: text(one.placeholder)[0] ?? "", autocomplete: "off" }));
    case "email_text_input": return input(h("input", { ...common, type: "email" }));
    case "url_text_input": return input(h("input", { ...common, type: "url" }));
    case "number_input": return input(h("input", { ...common, type: "text", inputMode: "decimal" }));
    case "radio_buttons": return boxes(one, "radio", described);
    case "checkboxes": return boxes(one, "checkbox", described);
    case "static_select": return choice(common, one.options ?? one.option_groups.flatMap((group) => group.options), false, one);
    case "multi_static_select": return choice(common, one.options, true, one);
    case "users_select": case "multi_users_select":
      return choice(common, here_people(), one.type.startsWith("multi"), one);
    case "channels_select": case "conversations_select": case "multi_channels_select": case "multi_conversations_select":
      return choice(common, here_channels(), one.type.startsWith("multi"), one);
    default: return null;
  }
}

const asOption = (value, words) => ({ value, text: { type: "plain_text", text: words } });
const here_people = () => workspaceOf(here.team).people.map((one) => asOption(one.id, one.name));
const here_channels = () => workspaceOf(here.team).channels.map((one) => asOption(one.id, `#${one.name}`));

function boxes(one, type, described) {
  const name = newId();
  const node = h("div", { class: "boxes" }, one.options.map((option) =>
    h("label", {}, h("input", { type, name, value: option.value, "aria-describedby": described }), h("span", {}, text(option.text),
      option.description ? h("small", {}, text(option.description)) : null))));
  const all = () => [...node.querySelectorAll("input")];
  return {
    node, group: true,
    get: () => type === "radio" ? (all().find((each) => each.checked)?.value ?? null)
      : all().filter((each) => each.checked).map((each) => each.value),
    set: (value) => { for (const each of all()) each.checked = [value ?? []].flat().includes(each.value); },
  };
}

function choice(common, options, multiple, one) {
  const node = h("select", { ...common, multiple },
    multiple ? null : h("option", { value: "" }, text(one.placeholder)[0] ?? "Choose"),
    (options ?? []).map((option) => h("option", { value: option.value }, text(option.text))));
  return {
    node,
    get: () => multiple ? [...node.selectedOptions].map((each) => each.value) : node.value || null,
    set: (value) => { for (const each of node.options) each.selected = [value ?? (multiple ? [] : "")].flat().includes(each.value); },
  };
}

// -- LeadSquared

const cards = new Map(); // org ID -> what of its card changes

function showAccounts() {
  const found = all("account");
  for (const account of found) {
    if (!cards.has(account.org_id)) cards.set(account.org_id, accountCard(account));
    const card = cards.get(account.org_id);
    card.account = account;
    for (const radio of card.radios) radio.checked = radio.value === account.fault;
    card.node.classList.toggle("faulty", account.fault !== "none");
    showTickets(card, account);
    showCalls(card, account);
  }
  found.sort((one, other) => (other.team === here.team) - (one.team === here.team));
  arrange(byId("leadsquared"), found.map((one) => cards.get(one.org_id).node));
  showWindows();
}

function accountCard(account) {
  const name = workspaceOf(account.team)?.name ?? account.team;
  const group = newId();
  const radios = Object.keys(faults).map((fault) => h("input", { type: "radio", name: group, value: fault,
    onchange: () => act("fault", { org_id: account.org_id, fault }) }));
  const card = {
    radios, fill: h("meter", { min: 0, max: account.limit, high: account.limit * 0.8, "aria-label": "Calls in the window" }),
    count: h("span"), tickets: h("div", { class: "tickets" }), calls: h("ol", { class: "calls" }), known: new Map(), callNodes: new Map(),
  };
  const fact = (label, value) => [h("dt", {}, label), h("dd", {}, h("code", {}, value))];
  card.node = h("section", { class: "account", "aria-label": `LeadSquared of ${name}` },
    h("h3", {}, `${name} `, h("span", { class: "of" }, `org ${account.org_id}`)),
    h("p", { class: "window" }, card.fill, card.count),
    h("fieldset", { class: "faults" }, h("legend", {}, "Fault"),
      radios.map((radio) => h("label", {}, radio, h("span", {}, faults[radio.value])))),
    h("h4", {}, "Tickets"), card.tickets,
    h("h4", {}, "Calls"), card.calls,
    h("details", {}, h("summary", {}, "Tickets to play with"),
      h("dl", { class: "numbers" }, Object.entries(account.exist).filter(([, says]) => says).flatMap(([number, says]) =>
        [h("dt", {}, button(number, () => { writing.put(`${hint.command} ${number} `); writing.area.focus(); }, { class: "link" })), h("dd", {}, says)]))),
    h("details", {}, h("summary", {}, "The account, to connect it in Slack"),
      h("dl", {}, fact("API host", account.url), fact("Org ID", account.org_id), fact("Access key", account.keys.access), fact("Secret key", account.keys.secret)),
      h("p", { class: "hint" }, "Made up, for this playground only.")));
  return card;
}

function showTickets(card, account) {
  const numbers = Object.keys(account.tickets);
  if (!numbers.length) { card.tickets.replaceChildren(empty("No activities yet.")); card.known.clear(); return; }
  const nodes = numbers.map((number) => {
    if (!card.known.has(number)) {
      const list = h("ul");
      card.known.set(number, { list, shown: 0, node: h("section", { "aria-label": `Ticket ${number}` }, h("h5", {}, `Ticket ${number}`), list) });
    }
    const ticket = card.known.get(number);
    for (const activity of account.tickets[number].slice(ticket.shown)) {
      ticket.list.append(h("li", { class: "new" }, h("strong", {}, `Activity ID ${activity.id}`), h("span", { class: "pre" }, activity.text)));
    }
    ticket.shown = account.tickets[number].length;
    return ticket.node;
  });
  arrange(card.tickets, nodes);
}

function showCalls(card, account) {
  const calls = all("exchange").filter((one) => one.what.includes(`/tenants/${account.org_id}/`))
    .sort((one, other) => other.number - one.number).slice(0, 12);
  const nodes = calls.map((one) => {
    const known = card.callNodes.get(one.number);
    if (known?.status === one.status) return known.node;
    const node = h("li", { value: one.number },
      h("p", {}, statusMark(one), ` ${one.what.replace(`/api/tenants/${account.org_id}`, "…")}`),
      h("p", { class: "key" }, "key ", h("code", {}, one.headers["X-LSQ-ACCESS-KEY"] ?? one.headers["X-Lsq-Access-Key"] ?? "none")),
      h("pre", {}, JSON.stringify(one.body, null, 1)));
    card.callNodes.set(one.number, { status: one.status, node });
    return node;
  });
  arrange(card.calls, nodes.length ? nodes : [h("li", { class: "empty" }, "No calls yet.")]);
}

function statusMark(one) {
  const waits = one.status === null;
  const fine = one.status === "ok" || (one.status >= 200 && one.status < 300);
  return h("span", { class: `status ${waits ? "waits" : fine ? "fine" : "wrong"}` }, waits ? "no answer yet" : String(one.status));
}

/** Let the windows' fill fall as time passes; the calls in them came with the account. */
function showWindows() {
  let again = false;
  for (const { account, fill, count } of cards.values()) {
    const now = Date.now() / 1000;
    const within = account.calls.filter((at) => at > now - account.window).length;
    fill.value = within;
    const words = `${within} of ${account.limit} calls in ${account.window} s`;
    if (count.textContent !== words) count.textContent = words;
    again ||= within > 0;
  }
  clearTimeout(showWindows.timer);
  if (again) showWindows.timer = setTimeout(showWindows, 100);
}

// -- traffic, and the bot's log

const exchanges = new Map();
let wanted = "";

function trafficPanel() {
  const filter = h("select", { "aria-label": "Which traffic", onchange: () => { wanted = filter.value; showTraffic(); } },
    [["", "All"], ["Slack → bot", "Slack → bot"], ["bot → Slack", "bot → Slack"], ["bot → LeadSquared", "bot → LeadSquared"]]
      .map(([value, words]) => h("option", { value }, words)));
  byId("traffic").append(h("p", { class: "filter" }, filter, h("span", { class: "hint" }, "Newest first. Secrets are masked.")), h("div", { id: "exchanges" }));
}

function showTraffic() {
  if (here.dock !== "traffic") return;
  const found = all("exchange").filter((one) => one.way.startsWith(wanted)).sort((one, other) => other.number - one.number);
  arrange(byId("exchanges"), found.length ? found.map(exchange) : [empty("Nothing yet.")]);
  for (const number of exchanges.keys()) if (!values.has(`exchange/${number}`)) exchanges.delete(number);
}

function exchange(one) {
  const known = exchanges.get(one.number);
  if (known?.value === one) return known.node;
  const node = h("details", { class: "exchange", open: known?.node.open ?? false },
    h("summary", {},
      h("time", {}, new Date(one.at * 1000).toLocaleTimeString(undefined, { hour12: false })),
      h("span", { class: `way ${one.way.includes("LeadSquared") ? "leadsquared" : one.way.startsWith("bot") ? "out" : "in"}` }, one.way),
      statusMark(one),
      one.took === null ? null : h("span", { class: "took" }, `${Math.round(one.took * 1000)} ms`),
      h("span", { class: "what" }, one.what)));
  const fill = () => {
    if (!node.open || node.childElementCount > 1) return;
    const part = (label, value) => value === null || (typeof value === "object" && !Object.keys(value).length) ? []
      : [h("h5", {}, label), h("pre", { tabIndex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2))];
    node.append(...part("Headers", one.headers), ...part("Request", one.body), ...part("Answer", one.answer));
  };
  node.addEventListener("toggle", fill);
  fill();
  exchanges.set(one.number, { value: one, node });
  return node;
}

function showLog() {
  if (here.dock !== "log") return;
  const lines = all("log").sort((one, other) => one.number - other.number).map((one) => one.line.replace(/\u001b\[[\d;]*m/g, ""));
  const panel = byId("log");
  const atEnd = isAtEnd(panel);
  panel.replaceChildren(lines.length ? h("pre", { tabIndex: 0 }, lines.join("\n")) : empty("Nothing yet."));
  if (atEnd) toEnd(panel);
}

const tabs = [...document.querySelectorAll("#dock [role=tab]")];
for (const [number, tab] of tabs.entries()) {
  const choose = (one) => { go({ dock: one.id.replace("tab-", "") }); one.focus(); };
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) choose(tabs.at((number + step) % tabs.length));
  });
}

function showDock() {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${here.dock}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
}

// -- the top

const STATES = {
  starting: "The bot starts…", ready: "The bot is ready", stopping: "The bot stops…",
  stopped: "The bot is stopped", failed: "The bot has ended: see its log",
};

let wasAway = false; // the bot had ended, and this page said so

function showStatus() {
  const { state, transport } = bot();
  const status = byId("status");
  if (state === "ready" && wasAway) say("The bot is back.");
  if (state !== "starting") wasAway = state !== "ready";
  status.dataset.state = state;
  if (status.textContent !== STATES[state]) status.textContent = STATES[state];
  byId("transport").value = transport;
  const up = state === "ready" || state === "starting";
  byId("stop").textContent = up ? "Stop" : "Start";
  byId("kill").disabled = !up;
  byId("slack-down").checked = values.get("slack")?.down ?? false;
}

byId("transport").addEventListener("change", (event) => act("bot", { how: event.target.value }));
byId("restart").addEventListener("click", () => act("bot", { how: "restart" }));
byId("stop").addEventListener("click", (event) => act("bot", { how: event.target.textContent.toLowerCase() }));
byId("kill").addEventListener("click", () => act("bot", { how: "kill" }));
byId("slack-down").addEventListener("change", (event) => act("slack", { down: event.target.checked }));
byId("close-thread").addEventListener("click", () => { go({ thread: null }); writing.area.focus(); });
byId("thread").addEventListener("keydown", (event) => {
  if (event.key === "Escape") { go({ thread: null }); writing.area.focus(); }
});

const themes = ["", "dark", "light"]; // "" follows the machine
const useTheme = (theme) => { document.documentElement.dataset.theme = theme; localStorage.setItem("theme", theme); };
useTheme(localStorage.getItem("theme") ?? "");
byId("theme").addEventListener("click", () =>
  useTheme(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length]));

// -- all of it

/** Show what changed; without `kinds`, everything. */
function show(kinds = null) {
  const changed = (...names) => kinds === null || names.some((name) => kinds.has(name));
  settle();
  if (here.person === null) return;
  if (kinds?.has("workspace")) messages.clear(); // they show the names of people and channels
  if (changed("workspace")) { showPlaces(); showPeople(); }
  if (changed("workspace", "home")) { showPlace(); showHome(); }
  if (changed("workspace", "message")) showMessages();
  if (changed("modal")) showModals();
  if (here.dock === "leadsquared" && changed("account", "exchange", "workspace")) showAccounts();
  if (kinds === null) showDock();
  if (changed("exchange")) showTraffic();
  if (changed("log")) showLog();
  if (changed("bot", "slack")) showStatus();
}

trafficPanel();
showDock();
const says = sessionStorage.getItem("says");
if (says) { say(says); sessionStorage.removeItem("says"); }
follow();
