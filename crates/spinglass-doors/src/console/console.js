// The console: what the agent says by HTTP, drawn, and drawn again when it changes. No framework and
// no build: what is here is what the browser runs.

const main = document.querySelector("#main");
const alarm = document.querySelector("#alarm");

// Elements, by tag, attributes and children. Text is always text, never markup.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// ---- what the agent says

class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// A body that is a text is sent as it is, any other as JSON.
async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  const isText = typeof body === "string";
  if (body !== undefined) headers["Content-Type"] = isText ? "text/plain" : "application/json";
  const token = sessionStorage.getItem("token");
  if (method !== "GET" && token) headers.Authorization = `Bearer ${token}`;
  const sent = body === undefined || isText ? body : JSON.stringify(body);
  const answer = await fetch(path, { method, headers, body: sent, signal });
  if (answer.status === 401 && method !== "GET") {
    sessionStorage.removeItem("token");
    if (await login(token != null)) return ask(path, { method, body, signal });
  }
  const type = answer.headers.get("Content-Type") ?? "";
  const told = type.includes("json") ? await answer.json() : null;
  if (!answer.ok) throw new Problem(answer.status, told?.detail ?? answer.statusText);
  return told;
}

// Asks for the token; `expired` says that there was one. True: there is one now.
function login(expired) {
  const dialog = document.querySelector("#login");
  const title = document.querySelector("#login-title");
  title.textContent = expired
    ? "The token does not hold any more: give the new one"
    : "This needs the agent's token";
  const field = document.querySelector("#token");
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "ok" && field.value) sessionStorage.setItem("token", field.value);
      resolve(dialog.returnValue === "ok");
    }, { once: true });
  });
}

const zonePath = (zone) => "/v1/zones" + (zone === "/" ? "/" : zone.split("/").map(encodeURIComponent).join("/"));

// ---- live: the agent says that something has changed, the page asks what

let page = null;
let live = null;
let pending = false;

function connect() {
  live = new EventSource("/v1/events");
  live.addEventListener("open", () => {
    alarm.hidden = true;
    refresh();
  });
  live.addEventListener("table", refresh);
  live.addEventListener("member", (event) => {
    events.unshift(JSON.parse(event.data));
    events.length = Math.min(events.length, 100);
    page?.event?.();
  });
  live.addEventListener("error", () => {
    alarm.textContent = "The agent does not answer: what is shown is as it was. Trying again …";
    alarm.hidden = false;
    // A browser that was refused gives up; an agent that starts again is to be found.
    if (live.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  });
}

const events = [];
const REFRESH_MS = 500;

function refresh() {
  if (pending) return;
  pending = true;
  setTimeout(async () => {
    pending = false;
    try {
      await page?.refresh?.();
    } catch (error) {
      if (error instanceof Problem) page?.fail?.(error);
    }
  }, REFRESH_MS);
}

// ---- a table of many rows: only those in sight are there

const ROW = 30;

function shown(value) {
  if (value == null) return "";
  if (Array.isArray(value)) return value.map(shown).join(" ");
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value === "number" && !Number.isInteger(value)) return String(Math.round(value * 1e4) / 1e4);
  return String(value);
}

const RESTLESS = /^age$|\/s$|s ago$/;

class Grid {
  constructor(caption, { link, onlink } = {}) {
    this.link = link;
    this.sort = { column: null, down: false };
    this.rows = [];
    this.columns = [];
    this.before = new Map();
    this.head = el("tr");
    this.body = el("tbody");
    this.table = el("table", { "aria-rowcount": 0 }, el("caption", { class: "skip" }, caption),
      el("thead", {}, this.head), this.body);
    this.element = el("div", { class: "grid", tabindex: 0, role: "region", "aria-label": caption }, this.table);
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
  }

  set(columns, rows) {
    this.rows = rows;
    if (columns.join("\n") !== this.columns.join("\n")) {
      this.columns = columns;
      this.head.replaceChildren(...columns.map((column) => {
        const button = el("button", { type: "button", onclick: () => this.by(column) }, column);
        const numbers = rows.some((row) => typeof row.cells[column] === "number");
        return el("th", { scope: "col", class: numbers ? "number" : null }, button);
      }));
    }
    this.order();
  }

  by(column) {
    this.sort = { column, down: this.sort.column === column && !this.sort.down };
    this.order();
  }

  order() {
    const { column, down } = this.sort;
    const compare = (a, b) => {
      const [x, y] = [a.cells[column], b.cells[column]];
      if (typeof x === "number" && typeof y === "number") return x - y;
      return shown(x).localeCompare(shown(y), undefined, { numeric: true });
    };
    this.sorted = column == null ? this.rows : [...this.rows].sort((a, b) => (down ? -1 : 1) * compare(a, b));
    [...this.head.children].forEach((cell, at) => {
      const is = this.columns[at] === column;
      if (is) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    this.table.setAttribute("aria-rowcount", this.rows.length + 1);
    this.first = -1;
    this.draw();
  }

  draw() {
    const height = this.element.clientHeight || 600;
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW) - 10);
    const last = Math.min(this.sorted.length, first + Math.ceil(height / ROW) + 20);
    if (first === this.first && last === this.last) return;
    [this.first, this.last] = [first, last];
    const space = (rows) => el("tr", { "aria-hidden": true, style: `height:${rows * ROW}px` });
    const made = [];
    if (first > 0) made.push(space(first));
    for (let at = first; at < last; at++) made.push(this.row(this.sorted[at], at));
    if (last < this.sorted.length) made.push(space(this.sorted.length - last));
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.body.replaceChildren(...made);
    if (focused) this.body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  row(row, at) {
    // What always changes is no news.
    const text = JSON.stringify(Object.entries(row.cells).filter(([name]) => !RESTLESS.test(name)));
    const changed = this.before.has(row.key) && this.before.get(row.key) !== text;
    this.before.set(row.key, text);
    const made = el("tr", {
      "aria-rowindex": at + 2,
      class: [row.own && "own", row.stale && "stale", changed && "changed"].filter(Boolean).join(" ") || null,
    });
    this.columns.forEach((column, index) => {
      const value = row.cells[column];
      const cell = el("td", { class: typeof value === "number" ? "number" : null, title: shown(value) });
      const to = index === 0 ? this.link?.(row) : null;
      cell.append(to ? el("a", { href: to, "data-key": row.key }, shown(value)) : shown(value));
      made.append(cell);
    });
    return made;
  }
}

// Attributes that say little to people come last.
const LAST = ["contacts", "depth", "agent", "arch", "kernel", "os", "hostname", "booted"];

function columnsOf(rows) {
  const names = new Set(rows.flatMap((row) => Object.keys(row)));
  const rank = (name) => LAST.indexOf(name);
  return [...names].filter((name) => !name.startsWith("&")).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

function facts(pairs) {
  return el("dl", { class: "facts" }, ...pairs.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", { title: shown(value) }, shown(value)))));
}

const said = () => el("p", { class: "said", role: "status" });

function tell(where, text, good) {
  where.textContent = text;
  where.className = `said ${good ? "good" : "bad"}`;
}

// Runs what a button or a form wants, and says how it went.
async function attempt(where, doing, done) {
  try {
    await doing();
    tell(where, done, true);
  } catch (error) {
    tell(where, error.message, false);
  }
}

// ---- pages

function crumbs(zone) {
  const names = zone === "/" ? [] : zone.slice(1).split("/");
  const items = [["/", "/"], ...names.map((name, at) => [name, "/" + names.slice(0, at + 1).join("/")])];
  return el("ol", { class: "path", "aria-label": "Zone" }, ...items.map(([name, path]) =>
    el("li", {}, path === zone ? el("strong", {}, name) : el("a", { href: `#/zones${path}` }, name))));
}

function zonesPage(rest) {
  const zone = rest || "/";
  const summary = el("div");
  const wrong = said();
  const grid = new Grid(`Rows of ${zone}`, {
    link: (row) => (row.leaf ? null : `#/zones${zone === "/" ? "" : zone}/${row.key}`),
  });
  const form = el("form", { class: "line", onsubmit: set },
    el("label", {}, "Attribute", el("input", { name: "name", required: true, pattern: "[a-z0-9_.]+" })),
    el("label", {}, "Value", el("input", { name: "value" })),
    el("button", {}, "Set at this agent"));
  const outcome = said();
  async function set(event) {
    event.preventDefault();
    const { name, value } = Object.fromEntries(new FormData(form));
    let typed = value;
    try { typed = JSON.parse(value); } catch { /* it is a text */ }
    await attempt(outcome, () => ask("/v1/self", { method: "PATCH", body: { [name]: value === "" ? null : typed } }),
      `${name} is set`);
  }
  main.replaceChildren(crumbs(zone), summary, wrong, grid.element, el("h2", {}, "This agent's row"), form, outcome);
  return {
    async refresh() {
      const told = await ask(zonePath(zone));
      wrong.textContent = told.errors.length ? told.errors.join("\n") : "";
      summary.replaceChildren(facts(Object.entries(told.summary).filter(([name]) => !name.startsWith("&"))));
      const columns = ["name", ...columnsOf(told.rows.map((row) => row.attributes)), "age"];
      grid.set(columns, told.rows.map((row) => ({
        key: row.name,
        own: row.own,
        leaf: told.region,
        stale: row.age > 30,
        cells: { name: row.name, ...row.attributes, age: Math.round(row.age) },
      })));
    },
    fail(error) {
      tell(wrong, error.message, false);
    },
  };
}

function hostsPage() {
  const outcome = said();
  const grid = new Grid("Hosts that were found");
  const sql = el("input", { name: "sql", class: "code", value: "SELECT zone, id, load FROM hosts ORDER BY load DESC LIMIT 2000" });
  const form = el("form", { class: "line", onsubmit: run },
    el("label", { class: "wide" }, "Query", sql), el("button", { class: "main" }, "Find"));
  async function run(event) {
    event?.preventDefault();
    await attempt(outcome, async () => {
      const found = await ask(`/v1/query?sql=${encodeURIComponent(sql.value)}`);
      grid.set(found.columns, found.rows.map((cells, at) => ({ key: String(at), cells })));
      run.text = `${found.rows.length} hosts, none older than ${Math.ceil(found.age)} s` +
        (found.whole ? "" : `; ${found.silent} zones did not answer${found.cut ? ", and more did not fit" : ""}`);
    }, "");
    if (run.text) tell(outcome, run.text, true);
    run.text = "";
  }
  main.replaceChildren(el("h2", {}, "Hosts anywhere"), form, outcome, grid.element);
  run();
  return {};
}

function summariesPage(rest) {
  const zone = rest || "/";
  const grid = new Grid(`Summary functions in force in ${zone}`);
  const name = el("input", { name: "name", required: true, value: "load" });
  const sql = el("textarea", { name: "sql", spellcheck: "false", oninput: () => explain() },
    "SELECT AVG(load, nmembers) AS load FROM zone");
  const explained = said();
  const outcome = said();
  const form = el("form", { onsubmit: install },
    el("div", { class: "line" }, el("label", {}, "Name", name)),
    el("label", {}, "SQL over a zone's rows", sql),
    explained,
    el("p", {}, el("button", { class: "main" }, `Install in ${zone} and below`), " ",
      el("button", { type: "button", onclick: remove }, "Remove the one of this name")));
  let waiting = null;
  function explain() {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      try {
        const told = await ask("/v1/explain", { method: "POST", body: { zone, sql: sql.value } });
        const yields = Object.entries(told.yields).map(([key, value]) => `${key} = ${shown(value)}`);
        tell(explained, [
          `On the ${told.rows} rows of now: ${yields.join(", ") || "nothing"}`,
          ...told.errors,
          `${told.steps} of ${told.steps_max} steps, ${told.bytes} of ${told.bytes_max} bytes`,
        ].join("\n"), told.errors.length === 0);
      } catch (error) {
        tell(explained, error.message, false);
      }
    }, 250);
  }
  async function install(event) {
    event.preventDefault();
    await attempt(outcome, () => ask("/v1/summaries", { method: "PUT", body: { zone, name: name.value, sql: sql.value } }),
      `${name.value} is installed, and spreads`);
    refresh();
  }
  async function remove() {
    const what = `?zone=${encodeURIComponent(zone)}&name=${encodeURIComponent(name.value)}`;
    await attempt(outcome, () => ask(`/v1/summaries${what}`, { method: "DELETE" }), `${name.value} is removed`);
    refresh();
  }
  const path = el("div");
  main.replaceChildren(path, grid.element, el("h2", {}, "Try and install one"), form, outcome);
  explain();
  return {
    async refresh() {
      const zones = (await ask("/v1/zones")).map((each) => each.path);
      path.replaceChildren(el("ul", { class: "path", "aria-label": "Zones" }, ...zones.map((each) => el("li", {},
        each === zone ? el("strong", {}, each) : el("a", { href: `#/summaries${each === "/" ? "" : each}` }, each)))));
      const told = await ask(`/v1/summaries?zone=${encodeURIComponent(zone)}`);
      grid.set(["name", "since", "sql", "steps a row", "seconds left"], told.map((each) => ({
        key: each.name,
        cells: { name: each.name, since: each.zone ?? "built in", sql: each.sql, "steps a row": each.steps_per_row,
          "seconds left": each.seconds_left },
      })));
    },
  };
}

// Columns of topics that are rates: their titles, and the counters that they come from.
const TOPIC_RATES = [
  ["published/s", "messages_published"], ["delivered/s", "messages_delivered"],
  ["packets in/s", "packets_received"], ["bytes in/s", "bytes_received"],
];

// All of a topic, or a share of it.
const share = (rating) => (rating < 1 ? `${Math.round(1e6 * rating) / 1e4} %` : "yes");

function topicsPage() {
  const named = decodeURIComponent(location.hash.split("/")[2] ?? "");
  const grid = new Grid("Topics that this agent has met",
    { link: (row) => `#/topics/${encodeURIComponent(row.key)}` });
  let before = null;
  async function look() {
    let topics;
    try { topics = await ask("/v1/topics"); } catch { return; }
    const now = performance.now();
    const rate = (told, counter) => {
      const then = before?.told.get(told.topic);
      return then ? Math.round((1000 * (told[counter] - then[counter])) / (now - before.now)) : null;
    };
    grid.set(["topic", "subscribed", "senders", ...TOPIC_RATES.map(([title]) => title), "lost"], topics.map((told) => ({
      key: told.topic,
      cells: { topic: told.topic, subscribed: told.subscribed ? share(told.rating) : "no", senders: told.senders, lost: told.packets_lost,
        ...Object.fromEntries(TOPIC_RATES.map(([title, counter]) => [title, rate(told, counter)])) },
    })));
    before = { now, told: new Map(topics.map((told) => [told.topic, told])) };
  }
  const topic = el("input", { name: "topic", required: true, value: named || "news" });
  const rate = el("strong", {}, "-");
  const outcome = said();
  const log = el("div", { class: "grid", tabindex: 0, role: "log", "aria-label": "Messages" });
  const listen = el("form", { class: "line", onsubmit: subscribe },
    el("label", {}, "Topic", topic), el("button", { class: "main" }, "Listen"));
  const text = el("input", { name: "text", required: true });
  const send = el("form", { class: "line", onsubmit: publish },
    el("label", { class: "wide" }, "Message", text), el("button", {}, "Publish"));
  let source = null;
  let count = 0;
  function subscribe(event) {
    event?.preventDefault();
    source?.close();
    log.replaceChildren();
    source = new EventSource(`/v1/topics/${encodeURIComponent(topic.value)}`);
    tell(outcome, `listening to ${topic.value}`, true);
    source.onmessage = (event) => note(event.data);
    source.addEventListener("missed", (event) => note(`missed: ${event.data}`, "bad"));
    source.onerror = () => tell(outcome, "the agent ended the subscription, or does not answer", false);
  }
  function note(line, kind) {
    count++;
    log.append(el("div", { class: `said code ${kind ?? ""}` }, line));
    while (log.childElementCount > 500) log.firstElementChild.remove();
    log.scrollTop = log.scrollHeight;
  }
  async function publish(event) {
    event.preventDefault();
    const path = `/v1/topics/${encodeURIComponent(topic.value)}`;
    await attempt(outcome, () => ask(path, { method: "POST", body: text.value }),
      "published; an agent does not hear itself");
    text.value = "";
  }
  const timer = setInterval(() => {
    rate.textContent = `${count} messages/s`;
    count = 0;
  }, 1000);
  const looking = setInterval(look, 2000);
  main.replaceChildren(el("h2", {}, "Topics"), grid.element, el("h2", {}, "Listen and publish"),
    listen, el("p", {}, rate), log, send, outcome);
  look();
  if (named) subscribe();
  return { leave: () => { source?.close(); clearInterval(timer); clearInterval(looking); } };
}

// Who this agent gossips with: its region's agents and those beside its path, by how much goes
// either way. `peers` are { name, near, rate (bytes/s, both ways), silent }.
function map(peers, own) {
  const size = 460;
  const middle = size / 2;
  const picture = drawing("svg", { viewBox: `0 0 ${size} ${size}`, role: "img",
    "aria-label": `${peers.length} agents that this one exchanges something with; ` +
      `${peers.filter((peer) => peer.silent).length} of them are not heard` });
  const most = Math.max(1, ...peers.map((peer) => peer.rate));
  const ring = (items, radius, kind, turn) => items.slice(0, 72).forEach((peer, at, all) => {
    const angle = (2 * Math.PI * at) / all.length - Math.PI / 2 + turn;
    const [x, y] = [middle + radius * Math.cos(angle), middle + radius * Math.sin(angle)];
    const says = `${peer.name}: ${Math.round(peer.rate)} bytes/s${peer.silent ? ", not heard" : ""}`;
    picture.append(drawing("line", { x1: middle, y1: middle, x2: x, y2: y,
      "stroke-width": (0.6 + (5 * peer.rate) / most).toFixed(2), class: peer.silent ? "silent" : kind === "zone" ? "far" : "near" }));
    picture.append(drawing("circle", { cx: x, cy: y, r: 5, class: kind }, drawing("title", {}, says)));
    if (all.length <= 24) {
      const end = Math.cos(angle) < -0.1 ? "end" : Math.cos(angle) > 0.1 ? "start" : "middle";
      picture.append(drawing("text", { x: x + 9 * Math.cos(angle), y: y + 4 + 11 * Math.sin(angle), "text-anchor": end }, peer.name));
    }
  });
  ring(peers.filter((peer) => peer.near), 110, "member", 0);
  ring(peers.filter((peer) => !peer.near), 185, "zone", Math.PI / 7);
  picture.append(drawing("circle", { cx: middle, cy: middle, r: 8 }, drawing("title", {}, own)));
  return picture;
}

function membersPage() {
  const grid = new Grid("Members that this agent knows");
  const where = el("div");
  const log = el("div", { class: "grid", tabindex: 0, role: "log", "aria-label": "What became of members" });
  let before = null;
  function drawEvents() {
    log.replaceChildren(...(events.length ? events.map((event) => el("div", { class: "said code" },
      `${event.at.slice(11, 19)} ${event.kind} ${event.member.slice(0, 8)} ${event.detail}`))
      : [el("p", { class: "empty" }, "nothing since this page was opened")]));
  }
  async function refresh() {
    const [members, zones] = await Promise.all([ask("/v1/members"), ask("/v1/zones")]);
    const now = performance.now();
    const region = zones.at(-1);
    const names = new Map(zones.flatMap((zone) => zone.rows.flatMap((row) =>
      (row.attributes.contacts ?? []).map((at) => [at, zone === region ? row.name : `${zone.path}/${row.name}`.replace("//", "/")]))));
    const own = region.rows.find((row) => row.own);
    // Whom the agent itself says that it does not hear.
    const unheard = own?.attributes.unheard ?? [];
    const seconds = before ? (now - before.now) / 1000 : null;
    const total = (member) => member.sent_bytes + member.received_bytes;
    const peers = members.filter((member) => total(member) > 0).map((member) => {
      const then = before?.totals.get(member.id);
      return { member, name: names.get(member.address) ?? `${member.region} ${member.id.slice(0, 6)}`,
        near: member.region === region.path, rate: then != null ? (total(member) - then) / seconds : 0,
        silent: unheard.includes(names.get(member.address)) };
    });
    if (!before || seconds > 5) before = { now, totals: new Map(members.map((member) => [member.id, total(member)])) };
    const rates = new Map(peers.map((peer) => [peer.member.id, peer.rate]));
    grid.set(["name", "region", "address", "bytes/s", "heard s ago", "id"], members.map((member) => ({
      key: member.id,
      cells: { name: names.get(member.address), region: member.region, address: member.address, id: member.id,
        "bytes/s": rates.has(member.id) ? Math.round(rates.get(member.id)) : null,
        "heard s ago": member.heard == null ? null : Math.round(member.heard) },
    })));
    where.replaceChildren(map(peers, own?.name ?? "this agent"));
  }
  main.replaceChildren(el("div", { class: "columns" },
    el("section", {}, el("h2", {}, "Members"), grid.element),
    el("section", {}, el("h2", {}, "Whom this agent gossips with"), where,
      el("p", {}, "The wider a line, the more goes either way. Dashed: it is sent something, and not heard.")),
    el("section", {}, el("h2", {}, "What became of them"), log)));
  drawEvents();
  const timer = setInterval(() => refresh().catch(() => {}), 2000);
  return { refresh, event: drawEvents, leave: () => clearInterval(timer) };
}

// Counters of the agent as rates, and those that should not move as alarms.
const RATES = [
  ["datagrams_received", "Datagrams in /s"], ["datagrams_sent", "Datagrams out /s"],
  ["received_bytes", "Bytes in /s"], ["sent_bytes", "Bytes out /s"],
  ["messages_published", "Messages published /s"], ["messages_delivered", "Messages delivered /s"],
  ["packets_solicited", "Packets asked for /s"], ["repairs_sent", "Repairs sent /s"],
];
const ALARMS = [
  ["packets_lost", "Packets were lost for good"], ["messages_lagged", "A subscriber is too slow"],
  ["send_errors", "The system refuses to send"], ["accusations", "Members do not answer"],
  ["agents_removed", "Members were removed"], ["members_quarantined", "Members lied, and are heard no more"],
  ["table_over_budget", "The table takes more than its budget"],
];

function healthPage() {
  const meters = el("div", { class: "meters" });
  const alarms = el("div");
  const history = new Map();
  let before = null;
  const timer = setInterval(look, 2000);
  async function look() {
    let told;
    try { told = await ask("/v1/stats"); } catch { return; }
    const now = performance.now();
    if (before) {
      const seconds = (now - before.now) / 1000;
      const rate = (name) => ((told[name] ?? 0) - (before.told[name] ?? 0)) / seconds;
      meters.replaceChildren(...RATES.map(([name, title]) => {
        const past = history.get(name) ?? [];
        past.push(rate(name));
        if (past.length > 60) past.shift();
        history.set(name, past);
        return meter(title, past);
      }));
      const moving = ALARMS.filter(([name]) => rate(name) > 0);
      alarms.replaceChildren(moving.length
        ? el("ul", { class: "bad" }, ...moving.map(([name, title]) => el("li", {}, `${title}: ${rate(name).toFixed(1)}/s (${name})`)))
        : el("p", { class: "good" }, "Nothing that should stand still is moving."));
    }
    before = { now, told };
  }
  main.replaceChildren(el("h2", {}, "Alarms"), alarms, el("h2", {}, "Rates"), meters,
    el("p", {}, "All counters: ", el("a", { href: "/metrics" }, "/metrics"), ", for Prometheus."));
  look();
  return { leave: () => clearInterval(timer) };
}

function meter(title, past) {
  const most = Math.max(...past, 1e-9);
  const points = past.map((value, at) => `${(at * 160) / 59},${36 - (34 * value) / most}`).join(" ");
  const last = past.at(-1);
  return el("div", { class: "meter" }, el("p", {}, title),
    el("strong", {}, last >= 100 ? Math.round(last).toLocaleString() : last.toFixed(1)),
    drawing("svg", { viewBox: "0 0 160 38", "aria-hidden": true }, drawing("polyline", { points })));
}

// ---- the experiment: there is one if this is a demo's console

const KNOBS = [
  ["sleepers", "Members that sleep"], ["asleep", "Of the time, they sleep"],
  ["loss", "Packets lost at each member"],
];
const LINES = [
  ["offered", "sent"], ["healthy", "healthy members, on average"],
  ["healthy_least", "the slowest of them"], ["sleeping", "sleeping members, on average"],
];
const percent = (share) => `${Math.round(share * 100)} %`;

// Messages a second over time, one line each; what is not known leaves a hole in its line.
function throughput(moments) {
  const [width, height, left, bottom] = [640, 260, 44, 22];
  const seconds = Math.max(60, ...moments.map((moment) => moment.at - moments[0].at));
  const begin = (moments.at(-1)?.at ?? seconds) - seconds;
  const most = 1.25 * Math.max(1, ...moments.map((moment) => moment.offered));
  const x = (at) => left + ((width - left - 6) * (at - begin)) / seconds;
  const y = (rate) => (height - bottom) * (1 - Math.min(rate, most) / most);
  const now = moments.at(-1);
  const says = now ? LINES.filter(([name]) => now[name] != null)
    .map(([name, title]) => `${title} ${Math.round(now[name])}`).join(", ") : "nothing yet";
  const picture = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "plot",
    "aria-label": `Messages a second. Now: ${says}` });
  for (let at = 0; at <= 4; at++) {
    const rate = (most * at) / 5;
    picture.append(drawing("line", { x1: left, x2: width, y1: y(rate), y2: y(rate) }),
      drawing("text", { x: left - 6, y: y(rate) + 4, "text-anchor": "end" }, String(Math.round(rate))));
  }
  picture.append(drawing("text", { x: left, y: height - 5 }, `${Math.round(seconds)} s ago`),
    drawing("text", { x: width - 6, y: height - 5, "text-anchor": "end" }, "now"));
  for (const [name] of LINES) {
    let run = [];
    const end = () => {
      if (run.length > 1) picture.append(drawing("polyline", { class: name, points: run.join(" ") }));
      run = [];
    };
    for (const moment of moments) {
      if (moment[name] == null) end();
      else run.push(`${x(moment.at).toFixed(1)},${y(moment[name]).toFixed(1)}`);
    }
    end();
  }
  return picture;
}

function experimentPage() {
  const plot = el("div");
  const numbers = el("div");
  const outcome = said();
  const sliders = new Map();
  let turning = null;
  const form = el("form", { class: "line", onsubmit: (event) => event.preventDefault() },
    ...KNOBS.map(([name, title]) => {
      const shows = el("output", { for: `knob-${name}` }, "-");
      const slider = el("input", { type: "range", id: `knob-${name}`, min: 0, max: 1, step: 0.05, oninput: () => {
        shows.textContent = percent(slider.value);
        turn();
      } });
      sliders.set(name, { slider, shows });
      return el("label", { class: "wide", for: `knob-${name}` }, el("span", {}, `${title}: `, shows), slider);
    }));
  // What is turned quickly is sent once.
  function turn() {
    clearTimeout(turning);
    const timer = turning = setTimeout(async () => {
      const knobs = Object.fromEntries([...sliders].map(([name, { slider }]) => [name, Number(slider.value)]));
      await attempt(outcome, () => ask("/v1/experiment", { method: "PATCH", body: knobs }),
        KNOBS.map(([name, title]) => `${title}: ${percent(knobs[name])}`).join(". "));
      if (turning === timer) turning = null;
    }, 200);
  }
  async function refresh() {
    const told = await ask("/v1/experiment");
    // What is being turned now is not put back.
    for (const [name, { slider, shows }] of sliders) {
      if (turning || document.activeElement === slider) continue;
      slider.max = told.most[name];
      slider.value = told.knobs[name];
      shows.textContent = percent(told.knobs[name]);
    }
    const now = told.moments.at(-1);
    plot.replaceChildren(throughput(told.moments));
    if (now) numbers.replaceChildren(facts([["members", told.members], ["of them sleep", told.sleepers],
      ...LINES.filter(([name]) => now[name] != null).map(([name, title]) => [title, `${Math.round(now[name])}/s`]),
      ["repairs", `${Math.round(now.repairs)}/s`], ["gaps told", `${Math.round(now.gaps)}/s`]]));
  }
  const timer = setInterval(() => refresh().catch(() => {}), 500);
  main.replaceChildren(el("h2", {}, "Steady while others sleep"),
    el("p", {}, "One member sends; all others receive. Some are stopped and continued in random slots of 100 ms. ",
      "Slow members and lost packets are to cost the healthy ones nothing: their lines stay where they are."),
    form, outcome, plot,
    el("ul", { class: "legend" }, ...LINES.map(([name, title]) => el("li", { class: name }, title))), numbers);
  return { refresh, leave: () => { clearInterval(timer); clearTimeout(turning); },
    fail: (error) => main.replaceChildren(el("p", { class: "empty" }, error.message)) };
}

// ---- which page

const PAGES = { zones: zonesPage, hosts: hostsPage, summaries: summariesPage, topics: topicsPage,
  members: membersPage, health: healthPage, experiment: experimentPage };

function go() {
  const [, name, rest] = location.hash.match(/^#\/([a-z]*)(\/.*)?$/) ?? [];
  const known = name in PAGES ? name : "zones";
  page?.leave?.();
  document.querySelectorAll("nav a").forEach((link) => {
    if (link.hash === `#/${known}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  document.title = `${known[0].toUpperCase()}${known.slice(1)} · Spinglass`;
  page = PAGES[known](rest === "/" ? "" : decodeURI(rest ?? ""));
  page.refresh?.().catch((error) => page?.fail?.(error));
}

addEventListener("hashchange", () => {
  go();
  main.focus();
});
go();
connect();
ask("/v1/agent").then((told) => {
  document.querySelector("#agent").textContent = `${told.name} in ${told.region}, ${told.members} agents in all`;
  document.querySelector("#to-experiment").hidden = !told.experiment;
}).catch(() => {});
