// The floor the other scripts stand on: texts, DOM building, requests to our own routes. Nothing here knows a tab.
(() => {
  "use strict";

  const catalogues = window.sdwebuiTexts || { en: {} };
  const locale = (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
  const texts = { ...catalogues.en, ...catalogues[locale] };

  /** The text of a key with {names} filled in; the key itself where a text is missing. */
  const say = (key, values = {}) =>
    (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));

  /** An element. Functions become listeners, null and false are left out, children are nodes or texts (never markup). */
  const el = (tag, properties = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") node.addEventListener(name, value);
      else if (name === "class") node.className = value;
      else if (name === "text") node.textContent = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
    return node;
  };

  /** Seconds as people say them. */
  const duration = (seconds) =>
    seconds < 60
      ? say("seconds", { seconds: seconds.toFixed(2) })
      : say("minutes", { minutes: Math.floor(seconds / 60), seconds: Math.round(seconds % 60) });

  /** Whole seconds that are left, for progress lines. */
  const remaining = (seconds) =>
    seconds < 60
      ? say("seconds", { seconds: Math.max(1, Math.round(seconds)) })
      : say("minutes", { minutes: Math.floor(seconds / 60), seconds: Math.round(seconds % 60) });

  /** A request to one of our routes that must answer with JSON. Throws an Error with the server's sentence. */
  const request = async (method, path, body) => {
    const answer = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: { Accept: "application/json", ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
      signal: AbortSignal.timeout(30000),
    });
    if (answer.status === 401 || (answer.redirected && new URL(answer.url).pathname === "/login")) {
      window.location.assign("/login");
    }
    const content = await answer.json().catch(() => ({}));
    if (answer.ok) return content;
    const failure = new Error(content.detail || `HTTP ${answer.status}`);
    failure.status = answer.status;
    throw failure;
  };

  /** Put text on the clipboard; works on plain http too, where navigator.clipboard does not exist. */
  const copy = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = el("textarea", { class: "sd-offscreen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };

  /** The seed as the infotext has it. A seed may exceed what a JavaScript number holds, so it stays text. */
  const seedOf = (infotext) => (/(?:^|[\n,]\s*)Seed: (\d+)/.exec(infotext || "") || [])[1] || "";

  window.sdwebui = { say, el, duration, remaining, request, copy, seedOf, locale };
})();
