"use strict";
// Draws the plots and the map of words. The data is in the element "data"; page.css has the colours.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly understands some HTML in texts, and words may look like it.
  const escaped = (word) => word.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const number = (value) => value.toLocaleString("en");
  const config = { responsive: true, displayModeBar: false, showTips: false };

  // A copy of a value in which names of colours such as "--accent" are colours.
  function coloured(value) {
    if (typeof value === "string") return value.startsWith("--") ? colour(value) : value;
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(coloured);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, key === "customdata" ? each : coloured(each)]));
  }

  function axis(more) {
    return { gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false, automargin: true,
      tickfont: { color: colour("--soft") }, ...more };
  }

  function layout(more) {
    return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: colour("--soft") },
      margin: { l: 48, r: 12, t: 8, b: 40 }, hovermode: "closest",
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      hoverlabel: { bgcolor: colour("--paper"), bordercolor: colour("--accent"), font: { color: colour("--ink") } },
      ...more, xaxis: axis(more.xaxis), yaxis: axis(more.yaxis) };
  }

  function drawPlot(plot) {
    return Plotly.react(`plot-${plot.name}`, coloured(plot.data), layout(coloured(plot.layout)), config);
  }

  // The map of words

  const map = data.map;
  const find = document.getElementById("find");
  const found = document.getElementById("found");
  const state = { by: "groups", matches: [], zoom: null };

  function point(row) {
    const count = map.counts ? `<br>${number(map.counts[row])} times` : "";
    return `<b>${escaped(map.words[row])}</b>${count}`;
  }

  function trace(rows, more, marker) {
    return { type: "scatter", mode: "markers", x: rows.map((row) => map.x[row]), y: rows.map((row) => map.y[row]),
      text: rows.map(point), hovertemplate: "%{text}<extra></extra>", customdata: rows, ...more,
      marker: { size: narrow.matches ? 4 : 6, opacity: 0.75, ...marker } };
  }

  function drawMap() {
    const rows = map.words.map((_, row) => row);
    let traces;
    if (state.by === "groups") {
      traces = map.names.map((name, group) => trace(rows.filter((row) => map.groups[row] === group),
        { name: escaped(name) }, { color: colour(`--g${group}`) }));
    } else {
      const logs = rows.map((row) => Math.log10(Math.max(1, map.counts[row])));
      const low = Math.floor(Math.min(...logs)), high = Math.ceil(Math.max(...logs));
      const ticks = Array.from({ length: high - low + 1 }, (_, step) => low + step);
      traces = [trace(rows, { showlegend: false }, { color: logs, cmin: low, cmax: high,
        colorscale: [[0, colour("--line")], [0.35, colour("--g0")], [1, colour("--g3")]],
        colorbar: { title: { text: "count" }, thickness: 10, outlinewidth: 0, tickvals: ticks,
          ticktext: ticks.map((tick) => number(10 ** tick)) } })];
    }
    // The most frequent word of each small square is written on the map.
    const span = Math.max(...map.x) - Math.min(...map.x) || 1, height = Math.max(...map.y) - Math.min(...map.y) || 1;
    const squares = narrow.matches ? 5 : 9, taken = new Set();
    const named = rows.filter((row) => {
      const square = `${Math.floor(squares * map.x[row] / span)} ${Math.floor(2 * squares * map.y[row] / height)}`;
      return !taken.has(square) && taken.add(square);
    });
    const label = { mode: "text", text: named.map((row) => escaped(map.words[row])), hoverinfo: "skip",
      hovertemplate: undefined, showlegend: false, textfont: { size: 11, color: colour("--ink") } };
    traces.push(trace(named, label, {}));
    if (state.matches.length) {
      traces.push(trace(state.matches, { mode: "markers+text", showlegend: false, textposition: "top center",
        text: state.matches.map((row) => escaped(map.words[row])), textfont: { size: 13, color: colour("--found") } },
      { size: 14, opacity: 1, color: "rgba(0,0,0,0)", line: { width: 2.5, color: colour("--found") } }));
    }
    const hidden = { showgrid: false, showticklabels: false, showline: false, linecolor: "rgba(0,0,0,0)" };
    const legend = narrow.matches ? { orientation: "h", y: -0.02, yanchor: "top", x: 0 }
      : { orientation: "v", x: 1.01, y: 1, yanchor: "top" };
    const ranges = state.zoom ? [{ range: state.zoom[0] }, { range: state.zoom[1] }] : [{ autorange: true }, { autorange: true }];
    return Plotly.react("map", traces, layout({ dragmode: "pan", margin: { l: 4, r: 4, t: 8, b: 8 },
      showlegend: state.by === "groups" && map.names.length > 1,
      legend: { ...legend, title: { text: narrow.matches ? "" : "groups, by their middle words" }, itemsizing: "constant" },
      xaxis: { ...hidden, ...ranges[0] }, yaxis: { ...hidden, ...ranges[1] } }), { ...config, scrollZoom: true });
  }

  function search() {
    const text = find.value.trim();
    const exact = text.toLowerCase(), rows = map.words.map((_, row) => row);
    const same = rows.filter((row) => map.words[row].toLowerCase() === exact);
    state.matches = !text ? [] : same.length ? same
      : rows.filter((row) => map.words[row].toLowerCase().startsWith(exact)).slice(0, 12);
    state.zoom = null;
    if (state.matches.length) {
      const around = (values) => {
        const some = state.matches.map((row) => values[row]);
        const pad = (Math.max(...values) - Math.min(...values)) * 0.08 || 1;
        return [Math.min(...some) - pad, Math.max(...some) + pad];
      };
      state.zoom = [around(map.x), around(map.y)];
    }
    found.value = !text ? "" : state.matches.length
      ? `${state.matches.length === 1 ? "one word" : `${state.matches.length} words`}; Esc shows all again`
      : `“${text}” is not among these ${number(map.words.length)} words`;
    return drawMap();
  }

  function colourBy(by) {
    state.by = by;
    for (const button of document.querySelectorAll("[data-by]")) {
      button.setAttribute("aria-pressed", String(button.dataset.by === by));
    }
    return drawMap();
  }

  async function draw() {
    if (map) await drawMap();
    for (const plot of data.plots) {
      await drawPlot(plot);
      await new Promise((resolve) => setTimeout(resolve)); // so that the page can be used meanwhile
    }
    document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
  }

  if (map) {
    find.addEventListener("input", search);
    find.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        find.value = "";
        search();
      }
    });
    for (const button of document.querySelectorAll("[data-by]")) {
      button.addEventListener("click", () => colourBy(button.dataset.by));
    }
    document.getElementById("all").addEventListener("click", () => {
      find.value = "";
      search();
    });
    narrow.addEventListener("change", drawMap);
  }
  dark.addEventListener("change", draw);
  draw();
})();
