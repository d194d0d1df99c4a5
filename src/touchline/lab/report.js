// Under the pointer, the numbers of the nearest row of the chart's own table. The report reads without it.
"use strict";
const atMost = (low, value, high) => Math.min(high, Math.max(low, value));
for (const plot of document.querySelectorAll("[data-hover]")) {
  const figure = plot.closest("figure");
  const rows = [...figure.querySelectorAll("tr[data-at]")];
  const heads = [...figure.querySelectorAll("thead th")].map((head) => head.textContent);
  if (!rows.length) continue;
  let shown = [];
  const leave = () => { shown.forEach((node) => node.remove()); shown = []; };
  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width;
    const row = rows.reduce((best, next) => (Math.abs(next.dataset.at - at) < Math.abs(best.dataset.at - at) ? next : best));
    leave();
    const cursor = Object.assign(document.createElement("div"), { className: "cursor" });
    cursor.style.left = `${row.dataset.at * 100}%`;
    const tip = Object.assign(document.createElement("div"), { className: "tip" });
    [...row.cells].forEach((cell, index) => {
      const line = document.createElement(index ? "div" : "b");
      line.textContent = `${heads[index]}: ${cell.textContent}`;
      tip.append(line);
    });
    plot.append(cursor, tip);
    const left = row.dataset.at * box.width;
    tip.style.left = `${atMost(0, left > box.width / 2 ? left - tip.offsetWidth - 10 : left + 10, Math.max(0, box.width - tip.offsetWidth))}px`;
    shown = [cursor, tip];
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", leave);
}
