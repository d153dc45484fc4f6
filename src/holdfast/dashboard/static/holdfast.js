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
  }
  function showZone() {
    const button = find("#zone");
    if (!button) return;
    button.textContent = local ? "Local" : "UTC";
    showTimes(document);
  }

  // Refreshing: a stream that can be paused, and that holds still while somebody selects text or walks the rows.
  const sources = new Set();
  let paused = sessionStorage.getItem("holdfast-paused") === "yes";
  htmx.createEventSource = (url) => {
    const source = new EventSource(url);
    sources.add(source);
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
    button.textContent = paused ? "Paused" : "Live";
    button.classList.toggle("paused", paused);
  }
  function isInUse() {
    const selection = document.getSelection();
    const selecting = selection && !selection.isCollapsed && live().contains(selection.anchorNode);
    const focused = live().contains(document.activeElement);
    return selecting || focused || find("dialog[open]") !== null || document.hidden;
  }
  let opened = [], scrolled = new Map();
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (paused || isInUse()) {
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

  // Dialogs, copying, keys.
  document.addEventListener("click", (event) => {
    const on = event.target.closest("button, [data-close]");
    if (!on) return;
    if (on.id === "pause") togglePause();
    if (on.id === "zone") switchZone();
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
