// Tables of class `sorts`: a click on a heading sorts ascending, then descending, then as written.
"use strict";
{
  const MISSING = new Set(["", "–"]);
  const collator = new Intl.Collator("en", { numeric: true });
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

  const keyOf = (cell, numeric) => {
    const text = cell.dataset.value ?? cell.textContent.trim();
    if (MISSING.has(text)) return null;
    if (!numeric) return text;
    const number = Number(text);
    return Number.isNaN(number) ? null : number;
  };

  const sorted = (rows, column, numeric, sign) => {
    const keyed = rows.map((row) => [keyOf(row.cells[column], numeric), row]);
    const compare = numeric ? (a, b) => a - b : collator.compare;
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
    return keyed.map(([, row]) => row);
  };

  const rule = (rows) => {
    let before;
    for (const row of rows) {
      const who = row.querySelector("th[data-value]")?.dataset.value;
      row.classList.toggle("new", who === undefined || who !== before);
      before = who;
    }
  };

  for (const table of document.querySelectorAll("table.sorts")) {
    const body = table.tBodies[0];
    const written = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = NEXT[head.getAttribute("aria-sort")];
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const numeric = head.classList.contains("n");
        const rows = order === "none" ? written : sorted(written, column, numeric, sign);
        body.append(...rows);
        rule(rows);
      });
    });
  }
}
