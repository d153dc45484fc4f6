// What the pages do besides loading: refresh, times, dialogs, copying, keys. Everything works without it but these.
"use strict";

(() => {
  const live = () => document.getElementById("live");
  const find = (selector) => document.querySelector(selector);

  // Times: UTC as the server writes them, or local.
  let local = localStorage.getItem("holdfast-zone") === "local";
  const two = (number) => String(number).padStart(2, "0");
  const inLocalTime = (at) =>
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
    `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const inUtc = (at) => at.toISOString().replace("T", " ").replace(/\.\d+Z/, "Z");

  function showTimes(root) {
    for (const element of root.querySelectorAll("time")) {
      const at = new Date(element.dateTime);
      element.textContent = local ? inLocalTime(at) : inUtc(at);
      element.title = local ? inUtc(at) : `${inLocalTime(at)} local`;
    }
  }
  function switchZone() {
    local = !local;
    localStorage.setItem("holdfast-zone", local ? "local" : "utc");
    showZone();
    drawAll();
  }
  function showZone() {
    const button = find("#zone");
    if (!button) return;
    button.textContent = local ? "Local" : "UTC";
    showTimes(document);
  }

  // Refreshing: a stream that can be paused, and that holds still while somebody selects text or walks the rows.
  const sources = new Set();
  let held = false;
  let paused = sessionStorage.getItem("holdfast-paused") === "yes";
  htmx.createEventSource = (url) => {
    const source = new EventSource(url);
    sources.add(source);
    // The page stays as it was, and says so, until the store can be asked again.
    source.addEventListener("trouble", (event) => { find("#verdict").innerHTML = event.data; });
    if (paused) source.close();
    return source;
  };
  function togglePause() {
    paused = !paused;
    sessionStorage.setItem("holdfast-paused", paused ? "yes" : "no");
    if (paused) {
      for (const source of sources) source.close();
      sources.clear();
    } else if (live()) {
      const again = live().cloneNode(true);
      live().replaceWith(again);
      htmx.process(again);
    }
    showPause();
  }
  function showPause() {
    const button = find("#pause");
    if (!button) return;
    button.hidden = !live() || !live().hasAttribute("sse-connect");
    button.textContent = paused ? "Paused" : held ? "Held" : "Live";
    button.title = held ? "It waits while you use what would be replaced: Esc, p" : "Refreshing, p";
    button.classList.toggle("paused", paused || held);
  }
  function isInUse() {
    const selection = document.getSelection();
    const selecting = selection && !selection.isCollapsed && live().contains(selection.anchorNode);
    const focused = live().contains(document.activeElement) && document.activeElement.matches(":focus-visible");
    return selecting || focused || find("dialog[open]") !== null || document.hidden;
  }
  let opened = [], scrolled = new Map();
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    held = isInUse();
    showPause();
    if (paused || held) {
      event.preventDefault();
      return;
    }
    opened = [...live().querySelectorAll("details[open]")].map((one) => one.id);
    scrolled = new Map([...live().querySelectorAll("pre[id]")].map((one) => [one.id, one.scrollTop]));
    seen = new Set([...live().querySelectorAll("tr[data-position]")].map((row) => row.dataset.position));
  });
  let seen = new Set();
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target === live()) {
      for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
      for (const [id, top] of scrolled) if (top) document.getElementById(id)?.scrollTo(0, top);
      for (const row of live().querySelectorAll("tr[data-position]"))
        if (seen.size && !seen.has(row.dataset.position)) row.classList.add("fresh");
      showTimes(live());
    }
    if (event.target.id === "dialog-body") find("#dialog").showModal();
  });

  // Charts: their lines are fetched once a minute, as samples come.
  const KINDS = {
    rates: [["in", "published", "--accent"], ["handled", "delivered", "--good"]],
    failures: [["failed", "failed", "--warn"], ["dead", "dead", "--bad"]],
    durations: [["p50", "p50_seconds", "--accent"], ["p95", "p95_seconds", "--warn"]],
    lag: [["waiting", "lag", "--accent"]],
    age: [["oldest", "lag_seconds", "--warn"]],
  };
  const charts = find(".charts");
  let plots = [], hours = 6, asked = 0;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const IN_SECONDS = ["durations", "age"];
  const STEPS = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800];
  const digits = (value) => Number(value.toPrecision(3));
  const time = (seconds) =>
    seconds === 0 ? "0" : seconds < 1 ? `${digits(seconds * 1000)} ms` : seconds < 120 ? `${digits(seconds)} s`
      : seconds < 7200 ? `${digits(seconds / 60)} min` : `${digits(seconds / 3600)} h`;
  const shown = (kind, value) => value == null ? "–" : IN_SECONDS.includes(kind) ? time(value) : digits(value).toLocaleString("en");

  const atMinute = (seconds) => {
    const at = new Date(seconds * 1000);
    return local ? `${two(at.getHours())}:${two(at.getMinutes())}` : at.toISOString().slice(11, 16);
  };

  function draw(figure, lines) {
    const kind = figure.dataset.chart, target = figure.querySelector(".plot");
    const known = KINDS[kind].filter(([, key]) => lines[key].some((value) => value !== null));
    target.replaceChildren();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const options = {
      width: figure.clientWidth, height: 170, cursor: { points: { size: 6 } }, legend: { live: true },
      tzDate: (seconds) => local ? new Date(seconds * 1000) : uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, values: (_, all) => all.map(atMinute) }, { ...axis, size: 56, values: (_, values) => values.map((value) => shown(kind, value)), ...(IN_SECONDS.includes(kind) ? { incrs: STEPS } : {}) }],
      series: [
        { label: local ? "Local" : "UTC", value: (_, seconds) => seconds == null ? "–" : atMinute(seconds) },
        ...known.map(([label, , name]) => ({ label, stroke: colour(name), width: 1.5, points: { show: false }, spanGaps: kind === "durations", value: (_, value) => shown(kind, value) })),
      ],
    };
    plots.push(new uPlot(options, [lines.minutes, ...known.map(([, key]) => lines[key])], target));
  }
  async function drawAll() {
    if (!charts) return;
    const mine = ++asked;
    const answer = await fetch(`${charts.dataset.source}&hours=${hours}`);
    if (!answer.ok) return;
    const lines = await answer.json();
    if (mine !== asked) return; // another one was asked for meanwhile
    for (const plot of plots) plot.destroy();
    plots = [];
    for (const figure of charts.querySelectorAll("figure")) draw(figure, lines);
    charts.dataset.drawn = String(hours);
  }
  function chooseHours(button) {
    hours = Number(button.dataset.hours);
    for (const other of document.querySelectorAll("[data-hours]")) other.classList.toggle("chosen", other === button);
    drawAll();
  }
  drawAll();
  setInterval(() => { if (!paused && !document.hidden) drawAll(); }, 60_000);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let resized;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(drawAll, 200); });

  // Dialogs, copying, keys.
  document.addEventListener("click", (event) => {
    const on = event.target.closest("button, [data-close]");
    if (!on) return;
    if (on.id === "pause") togglePause();
    if (on.id === "zone") switchZone();
    if ("hours" in on.dataset) chooseHours(on);
    if (on.id === "help-button") find("#help").showModal();
    if ("copy" in on.dataset) copy(on, on.dataset.copy);
    if ("copyFrom" in on.dataset) copy(on, document.getElementById(on.dataset.copyFrom).textContent);
    if ("close" in on.dataset && on.closest("dialog")) {
      event.preventDefault();
      on.closest("dialog").close();
    }
  });
  async function copy(button, text) {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy by hand";
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  }

  function walk(step) {
    const rows = [...document.querySelectorAll("tbody tr")];
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("here"));
    rows[at]?.classList.remove("here");
    const row = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
    row.classList.add("here");
    row.scrollIntoView({ block: "nearest" });
    row.querySelector("a")?.focus();
  }
  const keys = {
    "/": () => find("form[role=search] input, form.filter input:not([type=hidden])")?.focus(),
    "?": () => find("#help").showModal(),
    j: () => walk(1),
    k: () => walk(-1),
    p: togglePause,
    t: switchZone,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const page = document.querySelectorAll("nav a")[Number(event.key) - 1];
    if (event.key === "Escape") document.activeElement.blur();
    else if (page) page.click();
    else if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  showZone();
  showPause();
})();
