// Draws the charts with uPlot and keeps the page fresh. Without this script the page shows SVG and plain tables.

(() => {
  const REFRESH_MS = 10_000;
  let plots = [];

  // A colour as the browser works it out: a variable may be a mix of others, which a canvas does not understand.
  function css(name) {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    (document.querySelector(".perf") || document.body).append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }

  const LANGUAGE = document.documentElement.lang || "en";

  function digits(value) {
    return Number(value.toPrecision(3)).toLocaleString(LANGUAGE);
  }

  function bytes(value) {
    const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(value, 1)) / 3)));
    return `${digits(value / 1000 ** power)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
  }

  const UNITS = {
    ms: (value) => (value >= 1000 ? `${digits(value / 1000)} s` : `${digits(value)} ms`),
    bytes,
    bytes_per_s: (value) => `${bytes(value)}/s`,
    ratio: (value) => `${digits(value * 100)} %`,
    percent: (value) => `${digits(value)} %`,
    per_s: (value) => `${digits(value)}/s`,
  };

  function amount(unit, value) {
    return value === null || value === undefined ? "" : (UNITS[unit] || digits)(value);
  }

  // Charts and texts are in the viewer's time zone; without this script they are in UTC, and say so.
  function clock(times) {
    const isLong = times[times.length - 1] - times[0] > 36 * 3600;
    const parts = isLong
      ? { month: "short", day: "numeric" }
      : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    const format = new Intl.DateTimeFormat(LANGUAGE, parts);
    return (_plot, ticks) => ticks.map((tick) => format.format(tick * 1000));
  }

  function localise(root) {
    const pad = (number) => String(number).padStart(2, "0");
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      time.title ||= time.textContent;
      const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
      time.textContent = `${day} ${pad(at.getHours())}:${pad(at.getMinutes())}`;
    }
  }

  // A line and its text for each mark, a deploy as a rule.
  function drawMarks(plot) {
    const script = document.getElementById("perf-marks");
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = css("--perf-quiet");
    ctx.fillStyle = css("--perf-quiet");
    ctx.textAlign = "left";
    ctx.setLineDash([4, 4]);
    for (const [at, text] of script ? JSON.parse(script.textContent) : []) {
      const x = plot.valToPos(at, "x", true);
      if (x >= bbox.left && x <= bbox.left + bbox.width) {
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.fillText(text.slice(0, 20), x + 4, bbox.top + 12);
      }
    }
    ctx.restore();
  }

  // A point between two gaps draws no line, so it alone gets a dot.
  function lonely(plot, index) {
    const values = plot.data[index];
    return [...values.keys()].filter((at) => values[at] !== null && values[at - 1] == null && values[at + 1] == null);
  }

  function options(data, box) {
    const axis = { stroke: css("--perf-quiet"), grid: { stroke: css("--perf-hairline"), width: 1 } };
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      padding: [8, 16, 0, 0],
      cursor: { drag: { x: false, y: false } },
      legend: { show: false },
      hooks: { draw: [drawMarks] },
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

  // The template has the texts, in the reader's language: `name` is liveText or staleText.
  function note(name) {
    const place = document.querySelector("[data-refresh]");
    if (place) {
      place.hidden = false;
      place.textContent = `, ${place.dataset[name]}`;
    }
  }

  // Keeps the focus and the scrolling of tables: a refresh must not move what somebody reads.
  function replaceContent(fresh) {
    const old = document.querySelector("[data-live]");
    const focus = document.activeElement?.getAttribute("href");
    const scrolled = [...old.querySelectorAll(".perf-scroll")].map((box) => box.scrollLeft);
    localise(fresh);
    old.replaceWith(document.adoptNode(fresh));
    [...fresh.querySelectorAll(".perf-scroll")].forEach((box, index) => {
      box.scrollLeft = scrolled[index] ?? 0;
    });
    if (focus) {
      [...fresh.querySelectorAll("a")].find((link) => link.getAttribute("href") === focus)?.focus();
    }
  }

  async function refresh() {
    // A page that nobody sees is not refreshed, nor one in which somebody types.
    if (document.hidden || document.activeElement?.matches("input, select")) {
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
      note("liveText");
    } catch {
      note("staleText");
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    localise(document);
    draw();
    if (document.querySelector("[data-live]")) {
      note("liveText");
      setInterval(refresh, REFRESH_MS);
      document.addEventListener("visibilitychange", refresh);
    }
    window.addEventListener("resize", draw);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  });
})();
