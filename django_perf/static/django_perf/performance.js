// Draws the charts with uPlot and keeps the page fresh. Without this script the page shows SVG and plain tables.

(() => {
  const REFRESH_MS = 10_000;
  let plots = [];

  function css(name) {
    const perf = document.querySelector(".perf") || document.documentElement;
    return getComputedStyle(perf).getPropertyValue(name).trim();
  }

  function amount(unit, value) {
    if (value === null || value === undefined) {
      return "";
    }
    if (unit === "bytes") {
      const power = Math.min(3, Math.max(0, Math.floor(Math.log10(Math.max(value, 1)) / 3)));
      const scaled = Number((value / 1000 ** power).toPrecision(3)).toLocaleString("en-GB");
      return `${scaled} ${["B", "kB", "MB", "GB"][power]}/s`;
    }
    const isLong = unit === "ms" && value >= 1000;
    const text = Number((isLong ? value / 1000 : value).toPrecision(3)).toLocaleString("en-GB");
    return unit === "ms" ? `${text} ${isLong ? "s" : "ms"}` : `${text}/s`;
  }

  // The page speaks UTC: two time zones on one screen would be one too many.
  function clock(times) {
    const isLong = times[times.length - 1] - times[0] > 36 * 3600;
    const parts = isLong
      ? { month: "short", day: "numeric" }
      : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    const format = new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: "UTC" });
    return (_plot, ticks) => ticks.map((tick) => format.format(tick * 1000));
  }

  // A point between two gaps draws no line, so it alone gets a dot.
  function lonely(plot, index) {
    const values = plot.data[index];
    return [...values.keys()].filter((at) => values[at] !== null && values[at - 1] == null && values[at + 1] == null);
  }

  function options(data, box) {
    const axis = { stroke: css("--body-quiet-color"), grid: { stroke: css("--hairline-color"), width: 1 } };
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      padding: [8, 16, 0, 0],
      cursor: { drag: { x: false, y: false } },
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      scales: { y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.05 : 1] } },
      axes: [
        { ...axis, size: 30, values: clock(data.times) },
        { ...axis, size: 74, values: (_plot, ticks) => ticks.map((tick) => amount(data.unit, tick)) },
      ],
      series: [{}].concat(
        data.lines.map((line) => ({
          label: line.label,
          stroke: css(`--perf-${line.tone}`),
          width: 1.5,
          spanGaps: false,
          points: { size: 5, filter: lonely },
        })),
      ),
    };
  }

  function drawOne(figure) {
    const box = figure.querySelector(".perf-plot");
    const script = figure.querySelector('script[type="application/json"]');
    if (!box || !script || typeof uPlot === "undefined") {
      return;
    }
    const data = JSON.parse(script.textContent);
    const columns = [data.times].concat(data.lines.map((line) => line.values));
    box.classList.add("is-drawn");
    plots.push(new uPlot(options(data, box), columns, box));
  }

  function draw() {
    for (const plot of plots) {
      plot.destroy();
    }
    plots = [];
    document.querySelectorAll(".perf-chart").forEach(drawOne);
  }

  function note(text) {
    const place = document.querySelector("[data-refresh]");
    if (place) {
      place.hidden = false;
      place.textContent = `, ${text}`;
    }
  }

  // Keeps the focus and the scrolling of tables: a refresh must not move what somebody reads.
  function replaceContent(fresh) {
    const old = document.querySelector("[data-live]");
    const focus = document.activeElement?.getAttribute("href");
    const scrolled = [...old.querySelectorAll(".perf-scroll")].map((box) => box.scrollLeft);
    old.replaceWith(document.adoptNode(fresh));
    [...fresh.querySelectorAll(".perf-scroll")].forEach((box, index) => {
      box.scrollLeft = scrolled[index] ?? 0;
    });
    if (focus) {
      [...fresh.querySelectorAll("a")].find((link) => link.getAttribute("href") === focus)?.focus();
    }
  }

  async function refresh() {
    if (document.hidden) {
      return;
    }
    try {
      const response = await fetch(window.location.href, { credentials: "same-origin" });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      if (!response.ok || !fresh) {
        throw new Error(`HTTP ${response.status}`);
      }
      replaceContent(fresh);
      draw();
      note("live");
    } catch {
      note("not refreshed, trying again");
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    draw();
    if (document.querySelector("[data-live]")) {
      note("live");
      setInterval(refresh, REFRESH_MS);
      document.addEventListener("visibilitychange", refresh);
    }
    window.addEventListener("resize", draw);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  });
})();
