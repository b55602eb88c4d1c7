
// Tables whose rows a click on a column's head puts in order; a second click turns it round.

const UNITS = { B: 1, KiB: KIB, MiB: MIB };

function cellValue(row, column) {
  const text = row.children[column].firstElementChild.textContent;
  const found = /^([\d.,]+)(?: (B|KiB|MiB))?/.exec(text);
  return found ? parseFloat(found[1].replaceAll(",", "")) * (UNITS[found[2]] || 1) : -1;
}

function offerSorting(table) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = element("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [cellValue(row, column), row.children[column].textContent, row]);
      rows.sort((a, b) => (a[0] - b[0] || a[1].localeCompare(b[1])) * (down ? -1 : 1));
      body.replaceChildren(...rows.map((row) => row[2]));
    });
  });
}
