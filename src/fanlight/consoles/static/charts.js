// Draws every figure[data-chart] below a node with uPlot, which is loaded when the first one is met; one that is drawn
// already is drawn anew only if its figures have changed.
//
// A figure's data-chart is JSON: {x: [...], x_label, series: [{label, values: [...], scale: "share" | "loss"}]}.
// The same figures stand in a table or in words on the page, so without JavaScript nothing is missing.

const VENDOR = "/static/vendor/uplot/";
const HEIGHT = 240;
const TONES = ["--stroke", "--busy", "--good", "--bad"];
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
const drawn = new WeakMap(); // figure -> {chart, plot}: what is drawn in it, and from which figures
let library = null;

function load() {
  library ??= new Promise((resolve, reject) => {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = `${VENDOR}uPlot.min.css`;
    const script = document.createElement("script");
    script.src = `${VENDOR}uPlot.iife.min.js`;
    script.addEventListener("load", () => resolve(window.uPlot));
    script.addEventListener("error", reject);
    document.head.append(sheet, script);
  });
  return library;
}

const TITLES = { share: "Named rightly", loss: "Loss" };

const percent = (value) => (value == null ? "–" : `${(100 * value).toFixed(1)} %`);
const loss = (value) => (value == null ? "–" : value.toFixed(3));

function options(data, figure) {
  const tokens = getComputedStyle(document.documentElement);
  const colour = (name) => tokens.getPropertyValue(name).trim();
  const axis = { stroke: colour("--ink-soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const used = new Set(data.series.map((series) => series.scale));
  const axes = [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500], label: data.x_label, labelSize: 22, size: 32 }];
  if (used.has("share")) {
    axes.push({ ...axis, scale: "share", label: TITLES.share, labelSize: 20, size: 52, values: (_plot, ticks) => ticks.map((t) => `${Math.round(100 * t)} %`) });
  }
  if (used.has("loss")) {
    const grid = used.has("share") ? { show: false } : axis.grid;
    axes.push({ ...axis, scale: "loss", label: TITLES.loss, labelSize: 20, side: used.has("share") ? 1 : 3, size: 48, grid });
  }
  return {
    width: figure.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false, range: room }, share: { range: [0, 1] }, loss: { range: (_p, _low, high) => [0, high || 1] } },
    axes,
    series: [
      { label: data.x_label, value: (_plot, value) => value ?? "–" },
      ...data.series.map((series, index) => ({
        label: series.label,
        scale: series.scale,
        stroke: colour(TONES[index % TONES.length]),
        dash: DASHES[index % DASHES.length],
        width: 2.5,
        spanGaps: true,
        points: { show: data.x.length < 40, size: 7, fill: colour("--panel") },
        value: (_plot, value) => (series.scale === "share" ? percent(value) : loss(value)),
      })),
    ],
    cursor: { drag: { x: false, y: false } },
    legend: { live: matchMedia("(hover: hover)").matches }, // figures follow a mouse; a finger has none to be followed
  };
}

function room(_plot, low, high) {
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

function drawOne(Plot, figure) {
  const { chart } = figure.dataset;
  const old = drawn.get(figure);
  if (old?.chart === chart) return;
  const data = JSON.parse(chart);
  figure.dataset.drawn = "";
  figure.hidden = false;
  old?.plot.destroy();
  const plot = new Plot(options(data, figure), [data.x, ...data.series.map((series) => series.values)], figure);
  drawn.set(figure, { chart, plot });
  if (!old) new ResizeObserver(() => resize(figure)).observe(figure);
}

function resize(figure) {
  drawn.get(figure).plot.setSize({ width: figure.clientWidth, height: HEIGHT });
}

export async function draw(root) {
  const Plot = await load();
  for (const figure of root.querySelectorAll("figure[data-chart]")) drawOne(Plot, figure);
}
