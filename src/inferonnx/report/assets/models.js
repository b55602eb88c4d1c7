
// The table of models: a row a version, sorted by any column, its cells written again
// when they change. A row's name shows that model in the charts.

const MOST_ROWS = 200;
const STATES = { open: "ready, open", ready: "ready, closed", locked: "locked", unavailable: "unavailable" };

const stateOf = (model) => (model.state === "ready" && model.is_open ? "open" : model.state);
const secondsText = (seconds) => (seconds === null ? "–" : timeText(seconds));
const byRate = (name) => (model, rates) => (rates ? rates[name] : null) ?? -1;

const MODEL_COLUMNS = [
  { label: "Model", value: (model) => `${model.name} ${String(model.version).padStart(20, "0")}` },
  { label: "State", value: (model) => Object.keys(STATES).indexOf(stateOf(model)) },
  { label: "Memory", value: (model) => model.share_bytes, isNumber: true },
  { label: "Requests/s", value: byRate("requests"), isNumber: true },
  { label: "p50", value: byRate("p50"), isNumber: true },
  { label: "p90", value: byRate("p90"), isNumber: true },
  { label: "p99", value: byRate("p99"), isNumber: true },
  { label: "Under way", value: (model) => model.pending, isNumber: true },
  { label: "Answered", value: (model) => model.requests, isNumber: true },
  { label: "Failed", value: (model) => sumOf(Object.values(model.failures)), isNumber: true },
];

class ModelTable {
  constructor(colours, onPick) {
    this.colours = colours;
    this.onPick = onPick;
    this.sorted = { column: MODEL_COLUMNS[0], down: false };
    this.rows = new Map();
    this.body = document.querySelector("#models tbody");
    this.heads = MODEL_COLUMNS.map((column) => this.makeHead(column));
    document.querySelector("#models thead tr").append(...this.heads);
    byId("filter").addEventListener("input", () => this.draw());
  }

  makeHead(column) {
    const button = element("button", { type: "button" }, column.label);
    button.addEventListener("click", () => {
      const again = this.sorted.column === column;
      this.sorted = { column, down: again ? !this.sorted.down : Boolean(column.isNumber) };
      this.draw();
    });
    return element("th", { scope: "col", class: column.isNumber ? "number" : "" }, button);
  }

  forget() {
    this.models = [];
    this.rows.clear();
    this.body.replaceChildren();
    byId("filter").value = "";
  }

  show(models, rates, picked) {
    this.models = models;
    this.rates = rates;
    this.picked = picked;
    this.draw();
  }

  draw() {
    const { column, down } = this.sorted;
    MODEL_COLUMNS.forEach((each, i) => {
      if (each === column) this.heads[i].setAttribute("aria-sort", down ? "descending" : "ascending");
      else this.heads[i].removeAttribute("aria-sort");
    });
    byId("filters").toggleAttribute("hidden", this.models.length < 6);
    const found = this.filtered();
    const value = (model) => column.value(model, this.rates.get(keyOf(model)));
    found.sort((a, b) => {
      const [p, q] = down ? [value(b), value(a)] : [value(a), value(b)];
      return p < q ? -1 : p > q ? 1 : 0;
    });
    const rows = found.slice(0, MOST_ROWS).map((model) => this.row(model));
    this.place(rows.length ? rows : [this.emptyRow()]);
    setText(byId("count"), this.countText(found.length));
  }

  filtered() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const textOf = (model) => `${titleOf(model)} ${STATES[stateOf(model)] || model.state}`.toLowerCase();
    return this.models.filter((model) => words.every((word) => textOf(model).includes(word)));
  }

  countText(n) {
    const counts = Object.keys(STATES)
      .map((state) => [STATES[state], this.models.filter((model) => stateOf(model) === state).length])
      .filter(([, n]) => n).map(([name, n]) => `${n} ${name}`);
    const hidden = n > MOST_ROWS ? `; the first ${MOST_ROWS} of ${n} are shown` : "";
    const filtered = n < this.models.length ? `${n} of ${this.models.length} shown; ` : "";
    return filtered + counts.join(" · ") + hidden;
  }

  emptyRow() {
    const text = this.models.length ? "No model fits the filter." : "No models yet: their owner brings them with inferonnx push.";
    return element("tr", {}, element("td", { class: "empty", colspan: String(MODEL_COLUMNS.length) }, text));
  }

  // Rows that stay where they are are not touched.
  place(rows) {
    rows.forEach((row, i) => {
      if (this.body.children[i] !== row) this.body.insertBefore(row, this.body.children[i] || null);
    });
    while (this.body.children.length > rows.length) this.body.lastChild.remove();
  }

  row(model) {
    const key = keyOf(model);
    if (!this.rows.has(key)) this.rows.set(key, this.makeRow(model));
    const { line, cells } = this.rows.get(key);
    const rates = this.rates.get(key);
    const state = stateOf(model);
    const isPicked = this.picked === key;
    const isBare = model.state !== "ready" && !model.requests;
    line.className = `row${isPicked ? " marked" : ""}${isBare ? " bare" : ""}`;
    cells.pick.setAttribute("aria-pressed", String(isPicked));
    cells.swatch.className = `swatch ${model.share_bytes || model.requests ? this.colours.of(key) : "none"}`;
    cells.badge.className = `badge ${STATES[state] ? state : ""}`;
    setText(cells.badge, STATES[state] || state);
    setText(cells.reason, model.reason);
    setText(cells.memory, model.share_bytes ? bytesText(model.share_bytes) : "–");
    cells.memory.title = model.is_open
      ? `${bytesText(model.resident_bytes)} of it are weights that stay decrypted; a pass opens ${bytesText(model.streamed_bytes)}`
      : "";
    setText(cells.rate, rates ? rateText(rates.requests) : "–");
    for (const [name] of SHARES) setText(cells[name], secondsText(rates ? rates[name] : null));
    setText(cells.pending, String(model.pending));
    setText(cells.requests, model.requests.toLocaleString("en"));
    setText(cells.failed, sumOf(Object.values(model.failures)).toLocaleString("en"));
    return line;
  }

  makeRow(model) {
    const cells = {
      swatch: element("span"), badge: element("span"), reason: element("span", { class: "reason" }),
      pick: element("button", { type: "button", class: "pick", title: "Show in the charts" },
        element("bdi", {}, model.name), " ", element("span", { class: "version" }, `version ${model.version}`)),
    };
    const key = keyOf(model);
    cells.pick.addEventListener("click", () => this.onPick(key));
    const figures = ["memory", "rate", "p50", "p90", "p99", "pending", "requests", "failed"].map((name, i) => {
      cells[name] = element("td", { class: "number", "data-label": MODEL_COLUMNS[i + 2].label });
      return cells[name];
    });
    const line = element("tr", { class: "row" },
      element("td", { class: "name" }, element("span", { class: "who" }, cells.swatch, cells.pick)),
      element("td", { class: "state" }, cells.badge, cells.reason), ...figures);
    return { line, cells };
  }
}
