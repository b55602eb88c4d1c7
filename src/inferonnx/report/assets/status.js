
// The page asks its server, again and again, and shows what it says. It holds nothing
// itself: without a token that the server takes it shows no figure.

const EVERY_MS = 2000;
const PATIENCE_MS = 10000;
const SLOWER_MS = [2000, 3000, 5000, 10000];
const TOKEN = /^[A-Za-z0-9._~+/=-]{1,4096}$/;
const WORDS = {
  401: "The figures need a token with the role metrics.",
  unknown: "The server does not know this token, or its time is over.",
  403: "This token does not have the role metrics.",
  malformed: "A token is one word, like ifx_… of inferonnx token new.",
};

const AWAY = "does not answer";
const UNCLEAR = "answers what this page does not understand";

// Why there are no figures; the status is 0 where none came.
class Trouble extends Error {
  constructor(words, status = 0) {
    super(words);
    this.status = status;
  }
}

// Where the browser lets a tab keep something, a token outlives a reload of the page.
class Token {
  constructor() {
    this.text = this.stored((store) => store.getItem("token")) || "";
  }

  set(text) {
    this.text = text;
    this.stored((store) => (text ? store.setItem("token", text) : store.removeItem("token")));
  }

  stored(action) {
    try {
      return action(sessionStorage);
    } catch {
      return null;
    }
  }
}

async function askStatus(token) {
  const reply = await fetch("/inferonnx/v1/status", {
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    cache: "no-store",
    redirect: "error",
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).catch(() => { throw new Trouble(AWAY); });
  if (!reply.ok) throw new Trouble(`answers with status ${reply.status}`, reply.status);
  const text = await reply.text().catch(() => { throw new Trouble(AWAY); });
  return JSON.parse(text);
}

class StatusPage {
  constructor() {
    this.token = new Token();
    this.failures = 0;
    this.since = null;
    this.colours = new Colours();
    this.charts = new Charts(this.colours);
    this.table = new ModelTable(this.colours, (key) => this.pick(key === this.picked ? "" : key));
    setText(byId("server"), location.host);
    this.begin();
    byId("ask-form").addEventListener("submit", (event) => this.take(event));
    byId("forget").addEventListener("click", () => this.forget());
    byId("model").addEventListener("change", () => this.pick(byId("model").value));
    addEventListener("resize", () => this.charts.draw());
  }

  // Forget all that was shown: whoever looks next has to show a token again.
  begin() {
    this.history = new History();
    this.picked = "";
    this.status = null;
    this.colours.given.clear();
    this.charts.forget();
    this.table.forget();
    byId("figures").hidden = true;
    for (const id of ["summary", "resident", "verdict", "gauge", "legend", "tiles", "model", "count"]) {
      byId(id).replaceChildren();
    }
    byId("summary").removeAttribute("title");
    byId("gauge").removeAttribute("aria-label");
  }

  async run() {
    clearTimeout(this.timer);
    const began = performance.now();
    const turn = (this.turn = {});
    let wait = EVERY_MS;
    try {
      const status = await askStatus(this.token.text);
      if (turn !== this.turn) return; // another token was given meanwhile
      this.answered(status);
      // Who takes long to answer is asked less often.
      wait = Math.max(EVERY_MS, 5 * (performance.now() - began));
    } catch (error) {
      if (turn !== this.turn) return;
      if ([401, 403].includes(error.status)) return this.refused(error.status);
      wait = this.failed(error);
    }
    this.timer = setTimeout(() => this.run(), wait);
  }

  // Throws where the server is another one than this page came from.
  answered(status) {
    if (status.schema !== "inferonnx.status/1") throw new Trouble(UNCLEAR);
    this.failures = 0;
    this.since = null;
    this.history.add(status, performance.now() / 1000);
    this.status = status;
    byId("ask").hidden = true;
    byId("notice").hidden = true;
    byId("forget").hidden = !this.token.text;
    byId("figures").hidden = false;
    byId("figures").classList.remove("stale");
    this.show();
  }

  refused(number) {
    this.begin();
    byId("notice").hidden = true;
    byId("forget").hidden = true;
    const words = number === 401 && this.token.text ? WORDS.unknown : WORDS[number];
    this.token.set("");
    this.ask(words);
  }

  ask(words) {
    setText(byId("ask-why"), words);
    byId("ask").hidden = false;
    byId("token").focus();
  }

  take(event) {
    event.preventDefault();
    const text = byId("token").value.trim();
    if (!TOKEN.test(text)) return this.ask(WORDS.malformed);
    byId("token").value = "";
    this.token.set(text);
    this.run();
  }

  forget() {
    this.token.set("");
    this.begin();
    this.run();
  }

  // Say that no answer came, and return when to ask again.
  failed(error) {
    this.history.interrupt();
    this.since = this.since || new Date();
    const time = this.since.toLocaleTimeString();
    const what = error instanceof Trouble ? error.message : UNCLEAR;
    setText(byId("notice"), `The server ${what} since ${time}. It is asked again every few seconds.`);
    byId("notice").hidden = false;
    byId("figures").classList.add("stale");
    this.failures += 1;
    return SLOWER_MS[Math.min(this.failures, SLOWER_MS.length) - 1];
  }

  pick(key) {
    this.picked = key;
    this.show();
  }

  show() {
    const { status, history } = this;
    // Colours are given in the order of names, not of what is drawn first.
    for (const model of status.models) {
      if (model.share_bytes || model.requests) this.colours.of(keyOf(model));
    }
    const names = status.models.map(keyOf);
    if (this.picked && !names.includes(this.picked)) this.picked = "";
    setText(byId("summary"), `version ${status.version} · up ${spanText(status.uptime_s)} · key ${status.public_key.slice(0, 16)}…`);
    byId("summary").title = `SHA-256 of its TLS key: ${status.public_key}`;
    showMemory(status, this.colours);
    showTiles(status, history.last);
    showChoice(status.models, this.picked);
    this.charts.show(status, history, this.picked);
    this.table.show(status.models, history.last.rates, this.picked);
  }
}

function showTiles(status, sample) {
  const { all, cores } = sample;
  const pending = sumOf(status.models.map((model) => model.pending));
  const dash = "–";
  const tiles = [
    ["Requests a second", all ? rateText(all.requests) : dash, all && all.failed ? `and ${rateText(all.failed)} failed` : "none failed"],
    ["Latency, p50", all ? secondsText(all.p50) : dash, all && all.p50 !== null ? `p90 ${timeText(all.p90)}, p99 ${timeText(all.p99)}`.replace(/(\d) /g, "$1\u00a0") : "no requests"],
    ["Under way", String(pending), `${status.requests_waiting} wait for memory`],
    ["Connections", String(status.connections), "one is this page's"],
    ["Weights streamed", all ? `${bytesText(all.streamed)}/s` : dash, "read and opened"],
    ["Processor", all ? cores.toFixed(2) : dash, "cores in use"],
  ];
  const host = byId("tiles");
  if (!host.children.length) {
    host.append(...tiles.map(([name]) => element("div", { class: "tile" }, element("dt", {}, name),
      element("dd", {}, element("strong", {}, element("span"), element("small")), element("span")))));
  }
  tiles.forEach(([, value, remark], i) => {
    const [strong, span] = host.children[i].lastChild.children;
    const [figure, ...unit] = value.split(" ");
    setText(strong.firstChild, figure);
    setText(strong.lastChild, unit.length ? ` ${unit.join(" ")}` : "");
    setText(span, remark);
  });
}

function showChoice(models, picked) {
  const select = byId("model");
  const wanted = [["", "All models"], ...models.map((model) => [keyOf(model), titleOf(model)])];
  if (wanted.length !== select.options.length || wanted.some(([key], i) => select.options[i].value !== key)) {
    select.replaceChildren(...wanted.map(([value, text]) => element("option", { value }, text)));
  }
  select.value = picked;
}

offerThemes();
const statusPage = new StatusPage();
statusPage.run();
