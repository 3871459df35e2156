"use strict";

// Drawing: when a figure comes into view, and anew when a choice, the width or the colours change.
report.charts = (() => {
  const { data } = report;
  const { NAMES, paint, styleOf } = report.paint;
  const states = {};
  for (const [anchor, section] of Object.entries(data.sections)) {
    const plain = section.rows.filter((row) => row.plain);
    states[anchor] = {
      measure: data.measure,
      axis: section.axis,
      cost: section.cost,
      near: false,
      apart: false,
      // Where every row is a variant, something is better than nothing.
      shown: new Set((plain.length ? plain : section.rows.slice(0, 6)).map((row) => row.name)),
    };
  }

  const drawn = new Map();
  const places = [...document.querySelectorAll("figure .chart")];
  function of(place) {
    const { figure: name, section } = place.closest("figure").dataset;
    return report.figures[name](data.sections[section], states[section], place);
  }
  function library() {
    if (!window.Plotly) {
      const script = document.createElement("script");
      script.textContent = document.getElementById("library").textContent;
      document.head.append(script);
    }
    return window.Plotly;
  }
  function draw(place) {
    const { traces, layout } = of(place);
    place.style.minHeight = `${layout.height}px`;
    const size = { width: place.clientWidth, autosize: false };
    library().react(place, traces, { ...layout, ...size }, { displayModeBar: false, scrollZoom: false, doubleClick: false });
    if (!drawn.has(place)) wide.observe(place);
    drawn.set(place, place.clientWidth);
  }
  function redraw(anchor) {
    for (const place of drawn.keys()) if (!anchor || place.closest("figure").dataset.section === anchor) draw(place);
    for (const details of document.querySelectorAll("details.numbers[open]")) tell(details);
  }
  const wide = new ResizeObserver((seen) => {
    for (const { target } of seen) if (target.clientWidth !== drawn.get(target)) draw(target);
  });
  const watch = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (isIntersecting) {
        watch.unobserve(target);
        draw(target);
      }
    }
  }, { rootMargin: "300px" });
  places.forEach((place) => watch.observe(place));
  addEventListener("beforeprint", () => places.filter((place) => !drawn.has(place)).forEach(draw));

  // The same numbers as a table, made when asked for

  function tell(details) {
    const region = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
    for (const place of details.closest("figure").querySelectorAll(".chart")) {
      const [head, ...body] = of(place).rows;
      const table = region.appendChild(document.createElement("table"));
      for (const [row, cell] of [[head, "th"], ...body.map((values) => [values, "td"])]) {
        const line = table.insertRow();
        row.forEach((value) => (line.appendChild(document.createElement(cell)).textContent = value));
      }
    }
    details.querySelector(".scroll")?.remove();
    details.append(region);
  }
  for (const details of document.querySelectorAll("details.numbers")) {
    details.addEventListener("toggle", () => details.open && tell(details));
  }

  // Choices

  const DASHES = { solid: "", dash: "6 4", dot: "2 3", dashdot: "6 3 2 3", longdash: "9 4", longdashdot: "9 3 2 3" };
  function sample(row) {
    const { color, dash } = styleOf(row);
    const svg = document.getElementById("sample").content.firstElementChild.cloneNode(true);
    const [line, mark] = svg.children;
    line.setAttribute("stroke", color);
    line.setAttribute("stroke-dasharray", DASHES[dash]);
    mark.setAttribute("stroke", color);
    mark.setAttribute("fill", row.variant ? paint("paper") : color);
    return svg;
  }
  function legend(bar) {
    const anchor = bar.dataset.section;
    const { shown } = states[anchor];
    bar.querySelector(".legend").replaceChildren(...data.sections[anchor].rows.map((row) => {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.append(sample(row), row.name);
      button.setAttribute("aria-pressed", shown.has(row.name));
      button.addEventListener("click", () => {
        if (!shown.delete(row.name)) shown.add(row.name);
        button.setAttribute("aria-pressed", shown.has(row.name));
        redraw(anchor);
      });
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
  }
  const bars = document.querySelectorAll(".toolbar[data-section]");
  bars.forEach(legend);
  for (const choice of document.querySelectorAll("[data-choice]")) {
    const anchor = choice.closest("[data-section]").dataset.section;
    const { choice: name } = choice.dataset;
    const section = data.sections[anchor];
    const options = { axis: section.axes, cost: section.costs }[name] || [];
    choice.append(...options.map((option) => new Option(NAMES[option], option, false, option === section[name])));
    choice.addEventListener("change", () => {
      states[anchor][name] = choice.type === "checkbox" ? choice.checked : choice.value;
      redraw(anchor);
    });
  }
  document.addEventListener("recolour", () => {
    bars.forEach(legend);
    redraw();
  });

  return { drawn };
})();
