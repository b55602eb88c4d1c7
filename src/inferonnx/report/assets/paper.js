
// The report's charts, and the choice of their scale.

offerThemes();
for (const chart of JSON.parse(byId("charts").textContent)) {
  const host = byId(chart.id);
  if (!chart.values.flat().some(Boolean)) {
    host.closest("figure").remove();
    continue;
  }
  const bars = new Bars(host, chart);
  for (const input of document.getElementsByName(chart.scale)) {
    input.addEventListener("change", () => bars.setScale(input.value === "log"));
  }
}
