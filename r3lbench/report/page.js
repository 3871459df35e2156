"use strict";

// Light and dark, tables that sort, and where in the page one is.
(() => {
  const recolour = () => document.dispatchEvent(new Event("recolour"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.style.colorScheme
      ? root.style.colorScheme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.style.colorScheme = dark ? "light" : "dark";
    recolour();
  });

  function compare(one, other) {
    const [left, right] = [Number(one), Number(other)];
    return Number.isNaN(left) || Number.isNaN(right) ? one.localeCompare(other) : left - right;
  }
  function sort(head) {
    const table = head.closest("table");
    const heads = [...head.parentNode.children];
    const column = heads.indexOf(head);
    const numbers = head.classList.contains("right");
    const before = head.getAttribute("aria-sort");
    // Numbers begin with the highest, words with A.
    const ascending = before ? before === "descending" : !numbers;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const [body] = table.tBodies;
    const rows = [...body.rows].map((row) => [row, row.cells[column].dataset.key]);
    const told = rows.filter(([, key]) => key !== "");
    const rest = rows.filter(([, key]) => key === "");
    told.sort(([, one], [, other]) => (ascending ? 1 : -1) * compare(one, other));
    body.append(...[...told, ...rest].map(([row]) => row));
  }
  for (const button of document.querySelectorAll(".sortable th button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }

  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const here = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (isIntersecting) {
        links.forEach((link) => link.removeAttribute("aria-current"));
        links.get(target.id)?.setAttribute("aria-current", "true");
      }
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  links.forEach((_, id) => here.observe(document.getElementById(id)));
  if (matchMedia("(max-width: 64rem)").matches) document.querySelector(".contents details").open = false;
})();
