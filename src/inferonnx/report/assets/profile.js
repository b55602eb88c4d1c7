
// The profile's plots: memory through a pass, time outside and inside, sizes against the EPC.

const profile = JSON.parse(byId("profile").textContent);
const { operators } = profile;
const of = (key) => operators.map((one) => one[key] || 0);
const isInside = operators.some((one) => one.inside_ms !== null);

function line(head, text) {
  return element("tr", {}, element("td", {}, head), element("td", {}, text));
}

function tip(i) {
  const one = operators[i];
  const rows = [
    line("Weights", bytesText(one.weights_bytes)),
    line("Inputs and outputs", bytesText(one.activation_bytes)),
    line("By itself", bytesText(one.peak_bytes)),
    line("Alive meanwhile", bytesText(one.alive_bytes)),
    line("Outside", timeText(one.outside_ms / 1e3)),
  ];
  if (one.inside_ms !== null) rows.push(line("Inside", timeText(one.inside_ms / 1e3)));
  if (one.faults !== null) rows.push(line("Major faults", one.faults.toLocaleString("en-US")));
  return [
    element("h3", {}, element("bdi", {}, one.type), element("span", {}, `${one.index}`)),
    element("p", { class: "what" }, element("bdi", {}, one.name || "–")),
    element("table", {}, element("tbody", {}, ...rows)),
  ];
}

function drawGauge() {
  const { weights_bytes: weights, activation_bytes: alive, epc_bytes: epc } = profile;
  const most = Math.max(weights + alive, epc) || 1;
  const piece = (kind, part) => {
    const box = element("i", { class: kind });
    box.style.width = `${(100 * part) / most}%`;
    return box;
  };
  const mark = element("span", { class: "mark" });
  mark.style.left = `min(${(100 * epc) / most}%, 100% - 3px)`;
  byId("gauge").append(piece("resident", weights), piece("activations", alive), mark);
  byId("gauge").setAttribute("aria-label",
    `Weights ${bytesText(weights)}, activations ${bytesText(alive)}, EPC ${bytesText(epc)}`);
}

function choose(name, change) {
  for (const input of document.getElementsByName(name)) {
    input.addEventListener("change", () => change(input.value));
  }
}

const n = operators.length;
const memory = new Steps(byId("memory"), { n, text: sizeText, tip, limit: profile.epc_bytes });
const MEMORY = {
  entire: [
    { kind: "resident", values: new Array(n).fill(profile.weights_bytes), isStacked: true },
    { kind: "activations", values: of("alive_bytes"), isStacked: true },
  ],
  own: [
    { kind: "resident", values: of("weights_bytes"), isStacked: true },
    { kind: "activations", values: of("activation_bytes"), isStacked: true },
  ],
};
const time = new Steps(byId("time"), { n, text: (ms) => `${Number(ms.toPrecision(4))} ms`, tip });
const TIMES = [{ kind: "inside beside", values: of("inside_ms") }, { kind: "outside beside", values: of("outside_ms") }];

offerThemes();
drawGauge();
memory.show(MEMORY.entire);
time.show(isInside ? TIMES : TIMES.slice(1));
new Curve(byId("cdf"), of("peak_bytes"), profile.epc_bytes);
if (!isInside) byId("inside-key").remove();
choose("memory", (kind) => memory.show(MEMORY[kind], false, fits(kind) ? profile.epc_bytes : 0));
choose("time", (kind) => time.show(time.layers, kind === "log"));
for (const table of document.querySelectorAll(".sheet table")) offerSorting(table);

// A limit far above everything would press the operators flat: then it is only told.
function fits(kind) {
  return kind === "entire" || Math.max(...of("peak_bytes")) * 4 > profile.epc_bytes;
}
