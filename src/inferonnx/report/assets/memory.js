
// Memory against the budget: what it is promised to, piece by piece up to the budget,
// and below, on the same scale, what the process holds and held at most.

const N_COLOURS = 6;

// Colours of models: given to the first that hold memory or answer, and kept.
class Colours {
  constructor() {
    this.given = new Map();
  }

  // "m0", ..., and "m-others" for all who come too late.
  of(key) {
    if (!this.given.has(key) && this.given.size < N_COLOURS) this.given.set(key, `m${this.given.size}`);
    return this.given.get(key) || "m-others";
  }
}

function showMemory({ memory, models }, colours) {
  const parts = partsOf(memory, models, colours);
  const whole = Math.max(memory.budget_bytes, memory.peak_bytes, 1);
  const percent = (bytes) => `${(100 * bytes) / whole}%`;
  const gauge = byId("gauge");
  gauge.replaceChildren(...parts.filter(({ bytes }) => bytes > 0).map(({ kind, name, bytes }) => {
    const piece = element("i", { class: kind, title: `${name}: ${bytesText(bytes)}` });
    piece.style.width = percent(bytes);
    return piece;
  }));
  if (memory.peak_bytes > memory.budget_bytes) {
    const mark = element("span", { class: "mark" });
    mark.style.left = percent(memory.budget_bytes);
    gauge.append(mark);
  }
  const [now, peak] = byId("measured").children;
  now.style.width = percent(memory.resident_bytes);
  peak.style.left = percent(memory.peak_bytes);
  showVerdict(memory);
  showLegend(memory, parts);
  const words = parts.map(({ name, bytes }) => `${name} ${bytesText(bytes)}`);
  gauge.setAttribute("aria-label", `Of ${bytesText(memory.budget_bytes)}: ${words.join(", ")}`);
}

// From the ground to the budget; the sum is the budget.
function partsOf(memory, models, colours) {
  const parts = [{ kind: "floor", name: "Server", bytes: memory.server_bytes }];
  let others = 0;
  for (const model of models) {
    if (!model.share_bytes) continue;
    const kind = colours.of(keyOf(model));
    if (kind === "m-others") others += model.share_bytes;
    else parts.push({ kind, name: titleOf(model), bytes: model.share_bytes });
  }
  if (others) parts.push({ kind: "m-others", name: "Other models", bytes: others });
  parts.push(
    { kind: "free", name: "Free for models", bytes: Math.max(0, memory.models_limit_bytes - memory.models_bytes) },
    { kind: "requests", name: "Requests", bytes: memory.requests_bytes },
    { kind: "free", name: "Free for requests", bytes: Math.max(0, memory.requests_limit_bytes - memory.requests_bytes) },
  );
  return parts;
}

function showVerdict(memory) {
  const [budget, peak] = [memory.budget_bytes, memory.peak_bytes];
  const over = peak > budget;
  setText(byId("resident"), bytesText(memory.resident_bytes));
  setText(byId("verdict"), over
    ? `of ${bytesText(budget)}; the peak was ${bytesText(peak - budget)} above it`
    : `of ${bytesText(budget)}; at most ${bytesText(peak)} until now`);
  byId("verdict").className = over ? "over" : "";
}

function showLegend(memory, parts) {
  const items = parts.filter(({ bytes, kind }) => bytes > 0 || kind === "requests");
  const lines = [
    { kind: "measured-now", name: "Resident", bytes: memory.resident_bytes },
    { kind: "measured-peak", name: "Peak", bytes: memory.peak_bytes },
  ];
  byId("legend").replaceChildren(...[...items, ...lines].map(({ kind, name, bytes }) => element("li", {},
    element("span", { class: `swatch ${kind}` }), element("bdi", {}, name), element("b", {}, bytesText(bytes)))));
}
