
// The four charts: of all models on one another, or of one.

const COUNT = { name: "1/s", size: 1 };
const STREAM = { name: "MiB/s", size: MIB };
const MEMORY = { name: "MiB", size: MIB };
const PERCENTILES = [["p50", "p50"], ["p90", "p90"], ["p99", "p99"]];

class Charts {
  constructor(colours) {
    this.colours = colours;
    const onCursor = (sample, here) => this.mark(sample, here);
    const rate = (value) => `${rateText(value)}/s`;
    this.requests = new TimeChart("Requests a second", { unit: COUNT, textOf: rate, onCursor });
    this.latency = new TimeChart("Latency", { textOf: timeText, onCursor });
    this.streamed = new TimeChart("Weights streamed", { unit: STREAM, textOf: (value) => `${bytesText(value)}/s`, onCursor });
    this.memory = new TimeChart("Memory of the process", { unit: MEMORY, textOf: bytesText, onCursor });
    this.all = [this.requests, this.latency, this.streamed, this.memory];
    byId("charts").replaceChildren(...this.all.map((chart) => chart.host));
  }

  show(status, history, picked) {
    const pieces = history.pieces();
    const end = history.last.at;
    const rates = (sample) => (picked ? sample.rates.get(picked) : sample.all);
    const stack = (name) => this.layers(status.models, pieces, picked, name);
    const lines = PERCENTILES.map(([name, kind]) => ({ name, kind, value: (sample) => rates(sample)?.[name] ?? null }));
    const failed = { name: "failed", kind: "failed", value: (sample) => rates(sample)?.failed || 0 };
    const anyFailed = pieces.flat().some((sample) => failed.value(sample) > 0);
    const requests = [...stack("requests"), ...(anyFailed ? [failed] : [])];
    this.requests.show({ pieces, end, isStack: true, layers: requests });
    this.latency.show({ pieces, end, layers: lines });
    this.streamed.show({ pieces, end, isStack: true, layers: stack("streamed") });
    const { budget_bytes: budget } = status.memory;
    this.memory.show({
      pieces, end, isStack: true, limit: { value: budget, text: `budget ${bytesText(budget)}` },
      layers: [{ name: "Resident", kind: "resident", value: (sample) => sample.resident }],
    });
    if (this.cursor) this.mark(this.cursor.sample, this.cursor.here);
  }

  forget() {
    this.cursor = null;
    for (const chart of this.all) chart.forget();
  }

  // A layer for each model with a colour that did something; one for all others.
  layers(models, pieces, picked, name) {
    const of = (key) => (sample) => sample.rates.get(key)?.[name] || 0;
    const samples = pieces.flat();
    const found = models
      .filter((model) => !picked || keyOf(model) === picked)
      .map((model) => ({ name: titleOf(model), kind: this.colours.of(keyOf(model)), value: of(keyOf(model)) }))
      .filter(({ value }) => picked || samples.some((sample) => value(sample) > 0));
    const coloured = found.filter(({ kind }) => kind !== "m-others");
    const others = found.filter(({ kind }) => kind === "m-others");
    if (others.length < 2) return [...coloured, ...others];
    const value = (sample) => sumOf(others.map((layer) => layer.value(sample)));
    return [...coloured, { name: "Other models", kind: "m-others", value }];
  }

  mark(sample, here) {
    this.cursor = sample ? { sample, here } : null;
    for (const chart of this.all) chart.mark(sample, chart === here);
  }

  draw() {
    for (const chart of this.all) chart.draw();
  }
}
