
// The table of partitions: sorted by any column, filtered by words and by where
// the weights are, each row opening to its operators.

const COLUMNS = [
  { key: "number", label: "Partition", value: (entry) => entry.index },
  { key: "what", label: "Operators", value: (entry) => entry.n },
  { key: "time", label: "Time", value: (entry) => entry.part.time_s + entry.part.stream_s },
  { key: "weights", label: "Weights", value: (entry) => entry.part.weight_bytes },
  { key: "kind", label: "Where", value: (entry) => ["resident", "streamed", "no"].indexOf(entry.kind) },
  { key: "activations", label: "Activations", value: (entry) => entry.part.activation_bytes },
  { key: "total", label: "Memory in use", value: (entry) => entry.total },
];
const NUMERIC = ["time", "weights", "activations", "total"];

class PartitionTable {
  constructor(plan, stacks) {
    this.plan = plan;
    this.entries = plan.partitions.map((part, index) => entryOf(part, index, stacks[index].total));
    const most = (key) => Math.max(1e-12, ...this.entries.map(COLUMNS.find((c) => c.key === key).value));
    this.most = Object.fromEntries(NUMERIC.map((key) => [key, most(key)]));
    this.sorted = { column: COLUMNS[0], down: false };
    this.body = document.querySelector("#partitions tbody");
    this.heads = COLUMNS.map((column) => this.makeHead(column));
    document.querySelector("#partitions thead tr").append(...this.heads);
    for (const entry of this.entries) entry.row = this.makeRow(entry);
    byId("filter").addEventListener("input", () => this.show());
    byId("kind").addEventListener("change", () => this.show());
    byId("expand").addEventListener("click", () => this.expandAll());
    this.show();
  }

  makeHead(column) {
    const button = element("button", { type: "button" }, column.label);
    button.addEventListener("click", () => {
      const again = this.sorted.column === column;
      // Numbers are first wanted from the largest down.
      this.sorted = { column, down: again ? !this.sorted.down : NUMERIC.includes(column.key) };
      this.show();
    });
    return element("th", { scope: "col", class: NUMERIC.includes(column.key) ? "number" : "" }, button);
  }

  makeRow(entry) {
    const { part, index, kind, n } = entry;
    const open = element("button", { type: "button", class: "open", "aria-expanded": "false" }, String(index + 1));
    open.setAttribute("aria-label", `Partition ${index + 1}, show operators`);
    open.addEventListener("click", () => this.toggle(entry));
    entry.open = open;
    const badge = element("span", { class: `badge ${kind}` }, { no: "no weights", resident: "resident", streamed: "streamed" }[kind]);
    const times = part.stream_s > 0 ? `compute ${timeText(part.time_s)}, read and open ${timeText(part.stream_s)}` : "";
    const time = this.meterCell("time", timeText(part.time_s + part.stream_s), part.time_s + part.stream_s, "");
    if (times) time.setAttribute("title", times);
    const what = element("td", { class: "what" }, element("b", {}, String(n)), " ",
      element("bdi", {}, typesText(part, 5)));
    const line = element("tr", { class: "row", id: `partition-${index + 1}` },
      element("td", {}, open), what, time,
      this.meterCell("weights", part.weight_bytes ? bytesText(part.weight_bytes) : "–", part.weight_bytes, kind),
      element("td", { "data-label": "Where" }, badge),
      this.meterCell("activations", bytesText(part.activation_bytes), part.activation_bytes, "activations"),
      this.meterCell("total", bytesText(entry.total), entry.total, ""));
    return line;
  }

  meterCell(key, text, value, kind) {
    const fill = element("i", { class: kind });
    fill.style.width = `${(100 * value) / this.most[key]}%`;
    const label = COLUMNS.find((column) => column.key === key).label;
    return element("td", { class: "number", "data-label": label }, text, element("span", { class: "meter" }, fill));
  }

  shown() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = byId("kind").value;
    return this.entries.filter((entry) =>
      (!kind || entry.kind === (kind === "none" ? "no" : kind)) &&
      words.every((word) => entry.text.includes(word) || String(entry.index + 1) === word));
  }

  show() {
    const { column, down } = this.sorted;
    const entries = this.shown();
    entries.sort((a, b) => (column.value(a) - column.value(b)) * (down ? -1 : 1) || a.index - b.index);
    this.heads.forEach((head, i) => {
      if (COLUMNS[i] === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const rows = [];
    for (const entry of entries) {
      rows.push(entry.row);
      if (entry.detail) rows.push(entry.detail);
    }
    if (!rows.length) {
      const colspan = String(COLUMNS.length);
      rows.push(element("tr", {}, element("td", { class: "empty", colspan }, "No partition fits the filter.")));
    }
    this.body.replaceChildren(...rows);
    const n = this.entries.length;
    byId("count").textContent = entries.length === n
      ? `${n} ${n === 1 ? "partition" : "partitions"}`
      : `${entries.length} of ${n} partitions`;
    byId("expand").textContent = entries.some((entry) => !entry.detail) ? "Expand all" : "Collapse all";
  }

  toggle(entry, open = !entry.detail) {
    entry.detail = open ? detailOf(entry) : null;
    entry.open.setAttribute("aria-expanded", String(open));
    this.show();
  }

  expandAll() {
    const entries = this.shown();
    const open = entries.some((entry) => !entry.detail);
    for (const entry of entries) {
      if (!open) entry.detail = null;
      else entry.detail = entry.detail || detailOf(entry);
      entry.open.setAttribute("aria-expanded", String(open));
    }
    this.show();
  }

  // Show one partition from the timeline, filter or not.
  reveal(index) {
    const entry = this.entries[index];
    if (!this.shown().includes(entry)) {
      byId("filter").value = "";
      byId("kind").value = "";
    }
    for (const other of this.entries) other.row.classList.toggle("marked", other === entry);
    this.toggle(entry, true);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    entry.row.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
    entry.open.focus({ preventScroll: true });
  }
}

function entryOf(part, index, total) {
  const words = part.operators.map(({ name, op_type }) => `${op_type} ${name}`).join(" ");
  const n = part.operators.length || part.stop - part.start;
  return { part, index, total, n, kind: kindOf(part), text: words.toLowerCase(), detail: null };
}

function detailOf(entry) {
  const { part } = entry;
  const cell = (text) => element("td", { class: "number" }, text);
  const rows = part.operators.map((operator, i) => element("tr", {},
    cell(String(part.start + i)),
    element("td", {}, element("bdi", {}, operator.op_type)),
    element("td", { class: "name" }, element("bdi", {}, operator.name || "–")),
    cell(operator.weight_bytes ? bytesText(operator.weight_bytes) : "–"),
    cell(timeText(operator.time_s))));
  const head = (text, kind) => element("th", { scope: "col", class: kind }, text);
  const inner = rows.length
    ? element("table", { class: "inner" },
      element("thead", {}, element("tr", {}, head("Node", "number"), head("Type", ""), head("Name", ""),
        head("Weights", "number"), head("Time", "number"))),
      element("tbody", {}, ...rows))
    : element("p", { class: "count" }, `Nodes ${part.start} to ${part.stop - 1}; the plan lists no operators.`);
  return element("tr", { class: "detail" }, element("td", { colspan: String(COLUMNS.length) }, inner));
}
