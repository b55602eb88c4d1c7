
// The page comes together: data, gauge, timeline, table.

(() => {
  const plan = JSON.parse(byId("plan").textContent);
  showGauge(plan);
  const timeline = new Timeline(plan, (index) => table.reveal(index));
  const table = new PartitionTable(plan, timeline.stacks);

  for (const choice of document.querySelectorAll('input[name="width"]')) {
    choice.addEventListener("change", () => timeline.setWidths(choice.value === "time"));
  }
  byId("zoom-in").addEventListener("click", () => timeline.zoomBy(0.5));
  byId("zoom-out").addEventListener("click", () => timeline.zoomBy(2));
  byId("zoom-reset").addEventListener("click", () => timeline.reset());
  offerThemes();
})();

// What the peak is made of, as one bar up to the budget, and the colours' meaning.
function showGauge(plan) {
  const most = Math.max(...plan.partitions.map((part) => part.activation_bytes));
  const parts = [
    ["floor", "Floor", plan.floor_bytes],
    ["sessions", "Sessions", plan.session_bytes],
    ["resident", "Resident weights", plan.resident_bytes],
    ["flight", "Buffer for weights in flight", plan.buffer_bytes],
    ["activations", "Live activations, at most", most],
  ];
  const rest = plan.peak_bytes - parts.reduce((sum, [, , bytes]) => sum + bytes, 0);
  if (rest > plan.peak_bytes / 200) parts.push(["other", "More while it is opened", rest]);
  const whole = Math.max(plan.budget_bytes, plan.peak_bytes, 1);
  const gauge = byId("gauge");
  const legend = byId("legend");
  const words = [];
  for (const [name, label, bytes] of parts) {
    if (!bytes) continue;
    const piece = element("i", { class: name, title: `${label}: ${bytesText(bytes)}` });
    piece.style.width = `${(100 * bytes) / whole}%`;
    gauge.append(piece);
    const key = element("span", { class: `swatch ${name}` });
    legend.append(element("li", {}, key, label, element("b", {}, bytesText(bytes))));
    words.push(`${label} ${bytesText(bytes)}`);
  }
  if (plan.peak_bytes > plan.budget_bytes) {
    const mark = element("span", { class: "mark" });
    mark.style.left = `${(100 * plan.budget_bytes) / whole}%`;
    gauge.append(mark);
  }
  const unused = (part) => part.resident || part.weight_bytes < plan.buffer_bytes;
  if (plan.buffer_bytes && plan.partitions.some(unused)) {
    legend.append(element("li", {}, element("span", { class: "swatch spare" }), "Buffer, unused"));
  }
  const line = element("span", { class: "swatch budget" });
  legend.append(element("li", {}, line, "Budget", element("b", {}, bytesText(plan.budget_bytes))));
  gauge.setAttribute("aria-label", `Of ${bytesText(plan.budget_bytes)}: ${words.join(", ")}`);
}
