"use strict";

// The figures. Each is given a comparison's numbers, what was chosen, and its place; it gives Plotly's traces and
// layout, and the same numbers as rows of a table.
report.figures = (() => {
  const { NAMES, paint, faded, styleOf, spell, interval, count, escaped, layout, ticks, scale } = report.paint;
  const shownRows = (section, state) => section.rows.filter((row) => state.shown.has(row.name));
  const narrow = (place) => place.clientWidth < 560;
  const nothing = (text) => [{ xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false, text }];
  const hover = (row, ...lines) => `<b>${escaped(row.name)}</b><br>${lines.join("<br>")}<extra></extra>`;

  // Learning curves

  function line(row, { axis, measure }, { band, own = styleOf(row).color, width = 2, on = {} }) {
    const x = row.curve.at[axis];
    const points = row.curve.values[measure];
    const { color, dash, symbol } = styleOf(row);
    const traces = [];
    if (band) {
      traces.push({
        ...on, x: [...x, ...[...x].reverse()],
        y: [...points.map((point) => point[2]), ...points.map((point) => point[1]).reverse()],
        fill: "toself", fillcolor: faded(color, band), line: { width: 0 }, hoverinfo: "skip", mode: "lines",
      });
    }
    traces.push({
      ...on, x, y: points.map((point) => point[0]), mode: width < 2 ? "lines" : "lines+markers",
      line: { color: own, dash: width < 2 ? "solid" : dash, width }, marker: { color: own, symbol, size: 7 },
      text: points.map((point) => interval(point, measure)),
      hovertemplate: hover(row, "%{text}", `%{x:,.4~s} ${NAMES[axis]}`),
    });
    return traces;
  }

  function curves(section, state, place) {
    const { axis, measure } = state;
    const drawn = shownRows(section, state).filter((row) => row.curve?.at[axis]);
    const points = drawn.flatMap((row) => row.curve.values[measure]);
    const means = points.map((point) => point[0]);
    const [least, most] = state.near && means.length ? [Math.min(...means), Math.max(...means)] : [0, 1];
    const room = 0.04 + 0.15 * (most - least) * state.near;
    const range = [least - room, most + room];
    const rows = [["method", NAMES[axis], measure]];
    for (const row of drawn) {
      row.curve.values[measure].forEach((point, at) => rows.push([row.name, count(row.curve.at[axis][at]), interval(point, measure)]));
    }
    section.bounds.forEach((bound) => rows.push([`${bound.name} (${bound.kind})`, "", interval(bound.values[measure], measure)]));
    const how = (state.apart ? apart : together)(section, state, place, drawn, range);
    if (!drawn.length) how.layout.annotations = nothing("choose a method above");
    return { ...how, rows };
  }

  function together(section, state, place, drawn, range) {
    const { axis, measure } = state;
    const within = section.bounds.filter((bound) => bound.values[measure][0] > range[0] && bound.values[measure][0] < range[1]);
    const height = narrow(place) ? 330 : 420;
    return {
      traces: drawn.flatMap((row) => line(row, state, { band: 0.07 })),
      layout: layout({
        height, margin: { l: 48, r: narrow(place) ? 16 : 120, t: 12, b: 44 },
        shapes: within.map((bound) => ({
          type: "line", xref: "paper", x0: 0, x1: 1, y0: bound.values[measure][0], y1: bound.values[measure][0],
          line: { color: paint("muted"), width: 1, dash: "dot" },
        })),
        annotations: [
          ...within.map((bound) => ({
            xref: "paper", x: 0.01, xanchor: "left", y: bound.values[measure][0], yanchor: bound.kind === "ceiling" ? "top" : "bottom",
            text: `${escaped(bound.name)} (${bound.kind}) ${spell(bound.values[measure][0], measure)}`, showarrow: false,
          })),
          ...(narrow(place) ? [] : ends(drawn, measure, range, (15 * (range[1] - range[0])) / (height - 56))),
        ],
        yaxis: { ...scale(measure), range },
        xaxis: { title: { text: NAMES[axis], standoff: 8 }, rangemode: "tozero", tickformat: "~s" },
      }),
    };
  }

  // Names beside the curves' ends; those that would cover each other stand around their middle.
  function ends(drawn, measure, [lowest, highest], gap) {
    const blocks = [];
    for (const row of [...drawn].sort((one, other) => end(one, measure) - end(other, measure))) {
      let block = { rows: [row], middle: end(row, measure) };
      const reach = (of) => ((of.rows.length - 1) / 2) * gap;
      while (blocks.length && blocks.at(-1).middle + reach(blocks.at(-1)) + gap > block.middle - reach(block)) {
        const { rows, middle } = blocks.pop();
        const all = [...rows, ...block.rows];
        block = { rows: all, middle: (middle * rows.length + block.middle * block.rows.length) / all.length };
      }
      block.middle = Math.min(Math.max(block.middle, lowest + reach(block) + gap / 2), highest - reach(block) - gap / 2);
      blocks.push(block);
    }
    return blocks.flatMap(({ rows, middle }) => rows.map((row, at) => ({
      xref: "paper", x: 1.005, xanchor: "left", y: middle + (at - (rows.length - 1) / 2) * gap, yanchor: "middle", showarrow: false,
      text: escaped(row.name.length > 18 ? `${row.name.slice(0, 17)}…` : row.name), font: { color: styleOf(row).color },
    })));
  }
  const end = (row, measure) => row.curve.values[measure].at(-1)[0];

  // One panel a method: its band before the lines of all others, the reference's among them darker.
  function apart(section, state, place, drawn, range) {
    const { axis, measure } = state;
    const across = Math.min(drawn.length, narrow(place) ? 2 : 4) || 1;
    const down = Math.ceil(drawn.length / across) || 1;
    const far = Math.max(...drawn.map((row) => row.curve.at[axis].at(-1)), 0);
    const axes = {};
    const traces = [];
    drawn.forEach((row, at) => {
      const [column, level] = [at % across, Math.floor(at / across)];
      const suffix = at ? String(at + 1) : "";
      const on = { xaxis: `x${suffix}`, yaxis: `y${suffix}` };
      const [left, top] = [column / across, 1 - level / down];
      const common = { gridcolor: paint("line"), linecolor: paint("line"), zeroline: false, fixedrange: true };
      axes[`xaxis${suffix}`] = { ...common, anchor: on.yaxis, domain: [left, left + 0.9 / across], range: [0, far * 1.04], nticks: 3, showgrid: false, tickformat: "~s" };
      axes[`yaxis${suffix}`] = { ...common, ...ticks(measure), anchor: on.xaxis, domain: [top - 0.72 / down, top - 0.1 / down], range, nticks: 4, showticklabels: !column };
      for (const other of drawn) {
        const reference = report.data.colours[other.method] < 0;
        if (other !== row) traces.push(...line(other, state, { own: faded(paint("muted"), reference ? 0.9 : 0.3), width: reference ? 1.5 : 1, on }));
      }
      traces.push(...line(row, state, { band: 0.18, on }));
    });
    return {
      traces,
      layout: {
        ...layout({
          height: 170 * down + 20, margin: { l: 40, r: 4, t: 0, b: 30 },
          annotations: drawn.map((row, at) => ({
            xref: "paper", x: (at % across) / across, xanchor: "left", yref: "paper", y: 1 - (Math.floor(at / across) + 0.09) / down, yanchor: "bottom",
            showarrow: false, text: `<b>${escaped(row.name)}</b>`, font: { color: styleOf(row).color },
          })),
        }),
        ...axes,
      },
    };
  }

  // Cost and quality

  // Where the name of a point has room: on one of its sides, away from the names that have theirs.
  function labeller(place, width, height, at, rows) {
    const [across, up] = [(place.clientWidth - 64) / width, 250 / (height || 1)];
    const taken = rows.map((row) => ["", at(row)[0] * across, at(row)[1] * up, 8]);
    const sides = { "middle right": [0.5, 0], "middle left": [-0.5, 0], "top center": [0, 1], "bottom center": [0, -1], "top right": [0.5, 1], "bottom left": [-0.5, -1] };
    return (row) => {
      const long = 14 + 6.2 * row.name.length;
      const [x, y] = [at(row)[0] * across, at(row)[1] * up];
      const boxes = Object.entries(sides).map(([side, [right, above]]) => [side, x + right * (long + 10), y + above * 15]);
      const free = ([, left, low]) => left + long / 2 < width * across + 10 && left - long / 2 > -10
        && taken.every(([, other, high, size]) => Math.abs(left - other) > (long + size) / 2 || Math.abs(low - high) > 13);
      const [side, left, low] = boxes.find(free) || boxes[0];
      taken.push([side, left, low, long]);
      return side;
    };
  }

  function costs(section, state, place) {
    const { cost, measure } = state;
    const rows = [["method", NAMES[cost], measure]];
    const drawn = shownRows(section, state).filter((row) => row.cost);
    const most = Math.max(...drawn.map((row) => row.cost[cost]), 0) * 1.1;
    const ends = drawn.flatMap((row) => row.values[measure]);
    const labelled = labeller(place, most, Math.max(...ends) - Math.min(...ends), (row) => [row.cost[cost], row.values[measure][0]], drawn);
    const traces = drawn.map((row) => {
      const [value, low, high] = row.values[measure];
      const { color, symbol } = styleOf(row);
      rows.push([row.name, count(row.cost[cost]), interval(row.values[measure], measure)]);
      return {
        x: [row.cost[cost]], y: [value], mode: "markers+text",
        text: [escaped(row.name)], textposition: labelled(row), textfont: { color, size: 11 },
        error_y: { type: "data", symmetric: false, array: [high - value], arrayminus: [value - low], color: faded(color, 0.45), thickness: 1.5, width: 0 },
        marker: { color, symbol, size: 10 },
        hovertemplate: hover(row, interval(row.values[measure], measure), `${count(row.cost[cost])} ${NAMES[cost]}`),
      };
    });
    return {
      traces, rows,
      layout: layout({
        height: 340, yaxis: scale(measure), annotations: drawn.length ? [] : nothing("choose a method above"),
        xaxis: { title: { text: `${NAMES[cost]} of a run`, standoff: 8 }, range: [0, most], tickformat: "~s" },
      }),
    };
  }

  // Ablations

  function ablations(section, { measure }) {
    const rows = [["ablation", `${measure}, difference`]];
    const bars = section.ablations.flatMap((of) => of.bars);
    const told = (bar) => interval(bar.values[measure], measure) + (bar.separable[measure] ? "" : ", not separable");
    bars.forEach((bar) => rows.push([bar.name, told(bar)]));
    return {
      rows,
      traces: [{
        type: "bar", orientation: "h", y: bars.map((bar) => escaped(bar.name)), x: bars.map((bar) => bar.values[measure][0]),
        marker: { color: bars.map((bar) => faded(paint(bar.values[measure][0] < 0 ? "less" : "more"), bar.separable[measure] ? 0.95 : 0.35)) },
        width: 0.6,
        error_x: {
          type: "data", symmetric: false, color: paint("ink"), thickness: 1.2, width: 0,
          array: bars.map((bar) => bar.values[measure][2] - bar.values[measure][0]),
          arrayminus: bars.map((bar) => bar.values[measure][0] - bar.values[measure][1]),
        },
        text: bars.map(told), textposition: "none", hovertemplate: "<b>%{y}</b><br>%{text}<extra></extra>",
      }],
      layout: layout({
        height: Math.max(180, 70 + 38 * bars.length),
        xaxis: { ...ticks(measure), title: { text: `${measure}, difference to the full method`, standoff: 8 }, zeroline: true },
        yaxis: { autorange: "reversed", showgrid: false, tickfont: { color: paint("ink") } },
      }),
    };
  }

  // Tasks

  function tasks(section, state, place) {
    const { measure } = state;
    const panels = section.panels.filter((panel) => state.shown.has(panel.name) || panel.name === "warm start");
    const rows = [["task", ...panels.map((panel) => panel.name)]];
    section.tasks.forEach((task, at) => rows.push([task, ...panels.map((panel) => spell(panel.values[measure][at], measure))]));
    return {
      rows,
      traces: [{
        type: "heatmap", z: panels.map((panel) => panel.values[measure]), y: panels.map((panel) => escaped(panel.name)),
        x: section.tasks.map((_, at) => at + 1), zmin: 0, zmax: 1, ygap: 2,
        colorscale: [[0, paint("low")], [1, paint("high")]],
        customdata: panels.map(() => section.tasks),
        hovertemplate: `<b>%{y}</b><br>task %{customdata}<br>${measure} %{z:.2f}<extra></extra>`,
        colorbar: {
          thickness: 8, outlinewidth: 0, len: 1, tickvals: [0, 0.5, 1], ticks: "", title: { text: narrow(place) ? "" : measure, side: "right" },
        },
      }],
      layout: layout({
        height: 90 + 26 * panels.length,
        xaxis: { title: { text: `${section.tasks.length} tasks, hardest first`, standoff: 8 }, showticklabels: false },
        yaxis: { autorange: "reversed", showgrid: false, tickfont: { color: paint("ink") } },
      }),
    };
  }

  // Reflecting and retrying

  function rates(section, state, place) {
    const name = place.dataset.rate;
    const rows = [["method", "update", NAMES[name]]];
    const traces = shownRows(section, state)
      .filter((row) => row.rates[name].some((value) => value !== null && (name === "no_signal" || value > 0)))
      .map((row) => {
        const { color, dash, symbol } = styleOf(row);
        row.updates.forEach((update, at) => rows.push([row.name, update, row.rates[name][at] === null ? "" : row.rates[name][at].toFixed(3)]));
        return {
          x: row.updates, y: row.rates[name], mode: "lines+markers", line: { color, dash, width: 1.6 }, marker: { color, symbol, size: 5 },
          hovertemplate: hover(row, "%{y:.0%} at update %{x}"),
        };
      });
    return {
      traces, rows,
      layout: layout({
        height: 190, margin: { l: 44, r: 8, t: 8, b: 34 }, annotations: traces.length ? [] : nothing("none of the methods shown"),
        xaxis: { title: { text: "update", standoff: 4 }, rangemode: "tozero" },
        yaxis: { tickformat: ".0%", rangemode: "tozero", nticks: 4, range: name === "retry_rate" ? undefined : [0, 1.04] },
      }),
    };
  }

  function pivots(section, state) {
    const drawn = shownRows(section, state).filter((row) => row.pivots.length);
    const most = Math.max(1, ...drawn.map((row) => row.pivots.length));
    const rows = [["method", ...Array.from({ length: most }, (_, step) => `step ${step}`)]];
    const traces = [];
    const annotations = drawn.length ? [] : nothing("none of the methods shown retries");
    const axes = {};
    drawn.forEach((row, at) => {
      const total = row.pivots.reduce((sum, value) => sum + value, 0);
      const suffix = at ? String(at + 1) : "";
      traces.push({
        type: "bar", x: row.pivots.map((_, step) => step), y: row.pivots.map((value) => value / total),
        marker: { color: styleOf(row).color }, xaxis: "x", yaxis: `y${suffix}`, width: 0.7,
        text: row.pivots.map((value) => `${value} of ${total} retries`), textposition: "none",
        hovertemplate: hover(row, "%{text} from step %{x}"),
      });
      const top = 1 - at / drawn.length;
      axes[`yaxis${suffix}`] = {
        domain: [1 - (at + 0.82) / drawn.length, top], range: [0, 1], tickvals: [0, 1], tickformat: ".0%",
        gridcolor: paint("line"), zerolinecolor: paint("line"), fixedrange: true,
      };
      annotations.push({
        xref: "paper", x: 1, xanchor: "right", yref: "paper", y: top, yanchor: "top", showarrow: false,
        text: `<b>${escaped(row.name)}</b>, ${total} retries`, font: { color: styleOf(row).color },
      });
      rows.push([row.name, ...Array.from({ length: most }, (_, step) => row.pivots[step] || 0)]);
    });
    const xaxis = { title: { text: "step", standoff: 6 }, dtick: most > 20 ? 5 : 1, range: [-0.6, most - 0.4], anchor: "free", position: 0 };
    return { traces, rows, layout: { ...layout({ height: 80 + 64 * Math.max(1, drawn.length), annotations, xaxis }), ...axes } };
  }

  return { curves, costs, ablations, tasks, rates, pivots };
})();
