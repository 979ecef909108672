"use strict";
// Long tables: a box that filters, headings that sort, and no more rows drawn than can be looked at.
// Without this script everything is there as well, in the order of the report.
(() => {
  const STEP = 200;
  const UNITS = {
    B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, PiB: 2 ** 50, EiB: 2 ** 60,
    s: 1, min: 60, h: 3600, d: 86400,
  };
  // The amount that a cell begins with, or null: "1,234", "1.46 GiB", "2 h 05 min".
  const amount = (text) => {
    if (!/^[-+]?[\d,]+(\.\d+)?( |$|%)/.test(text)) return null;
    let sum = 0;
    for (const [, number, unit] of text.matchAll(/([-+]?[\d,.]+)\s*([A-Za-z]*)/g)) {
      sum += parseFloat(number.replaceAll(",", "")) * (UNITS[unit.replace(/\/s$/, "")] ?? 1);
      if (!["d", "h", "min"].includes(unit)) break;
    }
    return Number.isNaN(sum) ? null : sum;
  };
  const compare = (a, b) => {
    const [x, y] = [amount(a), amount(b)];
    if (x !== null && y !== null) return x - y;
    if (x !== null || y !== null) return x !== null ? -1 : 1;
    // Numbers within text, as in addresses and versions, by their size.
    return a.localeCompare(b, "en", { numeric: true });
  };
  for (const table of document.querySelectorAll("table.rows")) {
    const body = table.tBodies[0];
    const all = [...body.rows];
    if (all.length < 2) continue;
    let rows = all;
    let shown = STEP;
    const more = document.createElement("button");
    more.type = "button";
    more.className = "more";
    const count = document.createElement("p");
    count.className = "note count";
    count.setAttribute("role", "status");
    const draw = () => {
      body.replaceChildren(...rows.slice(0, shown));
      more.hidden = rows.length <= shown;
      more.textContent = `Show more (${rows.length - shown} left)`;
      count.textContent = rows.length === all.length ? "" : `${rows.length} of ${all.length} rows`;
    };
    more.addEventListener("click", () => { shown += STEP; draw(); });
    const box = table.closest(".scroll");
    if (all.length > 8) {
      const filter = document.createElement("input");
      filter.type = "search";
      filter.placeholder = "Filter";
      filter.setAttribute("aria-label", `Filter ${table.caption.textContent}`);
      const texts = all.map((row) => row.textContent.toLowerCase());
      filter.addEventListener("input", () => {
        const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
        const kept = new Set(all.filter((_, at) => wanted.every((word) => texts[at].includes(word))));
        rows = order.filter((row) => kept.has(row));
        shown = STEP;
        draw();
      });
      box.before(filter);
    }
    let order = all;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") !== "ascending";
        for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = new Map(all.map((row) => [row, row.cells[column].textContent]));
        order = [...all].sort((a, b) => compare(key.get(a), key.get(b)) * (up ? 1 : -1));
        const kept = new Set(rows);
        rows = order.filter((row) => kept.has(row));
        draw();
      });
    });
    box.after(count, more);
    draw();
    // On paper everything is there.
    window.addEventListener("beforeprint", () => body.replaceChildren(...order));
    window.addEventListener("afterprint", draw);
  }
})();
