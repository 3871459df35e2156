"use strict";

// What all figures share: colours, words, and the way a chart is laid out.
window.report = { data: JSON.parse(document.getElementById("data").textContent) };

report.paint = (() => {
  const NAMES = {
    generated_tokens: "generated tokens",
    env_steps: "environment steps",
    trained_tokens: "trained tokens",
    seconds: "seconds",
    updates: "updates",
    retry_rate: "retries per first attempt",
    reflection_valid: "reflections that could be read",
    retry_improved: "retries that beat their attempt",
    no_signal: "groups without signal",
  };
  const COLOURS = 8;
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon", "hexagram"];

  // Colours are those of the style sheet, as the page shows them now.
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  function paint(name) {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  }
  const faded = (color, share) => color.replace("rgb(", "rgba(").replace(")", `, ${share})`);
  function styleOf(row) {
    const place = report.data.colours[row.method];
    const turn = Math.floor(Math.max(place, 0) / COLOURS);
    return {
      color: paint(place < 0 ? "ink" : `method-${place % COLOURS}`),
      dash: DASHES[(row.variant + turn) % DASHES.length],
      symbol: SYMBOLS[(place + 1) % SYMBOLS.length] + (row.variant ? "-open" : ""),
    };
  }

  function spell(value, measure) {
    return measure === "success" ? `${(100 * value).toFixed(1)} %` : value.toFixed(3);
  }
  const interval = ([value, low, high], measure) =>
    `${spell(value, measure)} [${spell(low, measure).replace(" %", "")}, ${spell(high, measure).replace(" %", "")}]`;
  function count(value) {
    if (value >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
    return value >= 1e4 ? `${+(value / 1e3).toPrecision(3)} k` : `${+value.toPrecision(4)}`;
  }
  const escaped = (text) => text.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);

  function layout({ xaxis, yaxis, ...more }) {
    const line = { gridcolor: paint("line"), zerolinecolor: paint("muted"), linecolor: paint("line"), ticks: "", automargin: true };
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: paint("muted") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 16, t: 12, b: 44 },
      showlegend: false,
      dragmode: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: paint("raised"), bordercolor: paint("line"), font: { color: paint("ink") } },
      ...more,
      xaxis: { ...line, showgrid: false, zeroline: false, ...xaxis },
      yaxis: { ...line, zeroline: false, ...yaxis },
    };
  }
  const ticks = (measure) => ({ tickformat: measure === "success" ? ".0%" : ".2~f" });
  const scale = (measure) => ({ ...ticks(measure), title: { text: measure, standoff: 8 } });

  return { NAMES, paint, faded, styleOf, spell, interval, count, escaped, layout, ticks, scale };
})();
