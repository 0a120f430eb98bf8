// Tables are sorted by a click on a heading; each group of rows on its own. The first click shows large numbers first.
(function () {
  const worth = (cell) => {
    const text = cell.textContent.trim().replace("\u2212", "-").replace("<", "");
    const value = parseFloat(text);
    return text === "\u2013" ? null : text === "inf" ? Infinity : isNaN(value) ? text.toLowerCase() : value;
  };
  for (const table of document.querySelectorAll("table.data")) {
    const heads = table.tHead ? [...table.tHead.rows[table.tHead.rows.length - 1].cells] : [];
    if (![...table.tBodies].some((body) => body.querySelectorAll("tr:not(.group)").length > 2)) continue;
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.onclick = () => {
        const words = head.classList.contains("t");
        const up = head.ariaSort ? head.ariaSort === "descending" : words;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        for (const body of table.tBodies) {
          const rows = [...body.querySelectorAll("tr:not(.group)")];
          rows.sort((a, b) => {
            const [x, y] = [worth(a.cells[column]), worth(b.cells[column])];
            if (x === null || y === null) return (x === null) - (y === null);
            const order = typeof x === typeof y ? (x > y) - (x < y) : typeof x === "string" ? 1 : -1;
            return up ? order : -order;
          });
          body.append(...rows);
        }
      };
    });
  }
  // what scrolls sideways can be reached by keyboard
  for (const box of document.querySelectorAll(".scroll")) if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
})();
