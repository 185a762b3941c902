// The person's jobs as the server knows them: asks /api/v1/jobs, keeps the newest answer, tells the views.
// A lost connection changes nothing but a line on the page: jobs live on the server, and asking again re-attaches.
(() => {
  "use strict";
  const { request } = window.sdwebui;

  const ACTIVE_MS = 500;
  const IDLE_MS = 5000;
  const HIDDEN_ACTIVE_MS = 3000;
  const HIDDEN_IDLE_MS = 20000;
  const RETRY_MAX_MS = 10000;
  const LISTED = 200; // when a page is opened or comes back
  const NEWEST = 10; // while it stays open: other tabs and devices send jobs too
  const isActive = (job) => job.state === "queued" || job.state === "running";

  let jobs = []; // newest first
  let connected = true;
  let failures = 0;
  let timer = null;
  let ticks = 0;
  let asked = 0;
  const listeners = new Set();

  const tell = () => listeners.forEach((listener) => listener({ jobs, connected }));

  const joined = (fresh) => {
    const byId = new Map(jobs.map((job) => [job.id, job]));
    fresh.forEach((job) => byId.set(job.id, job));
    return [...byId.values()].sort((one, other) => other.created_at - one.created_at);
  };

  /** Ask for the whole list once, then for what still moves, and for the newest jobs now and then. */
  const ask = async () => {
    const active = jobs.filter(isActive);
    const number = ticks++;
    if (number === 0) return request("GET", `/api/v1/jobs?limit=${LISTED}`);
    if (active.length === 0 || number % 10 === 0) return joined(await request("GET", `/api/v1/jobs?limit=${NEWEST}`));
    return joined(await Promise.all(active.map((job) => request("GET", `/api/v1/jobs/${encodeURIComponent(job.id)}`))));
  };

  const pause = () => {
    if (failures > 0) return Math.min(RETRY_MAX_MS, ACTIVE_MS * 2 ** failures);
    const active = jobs.some(isActive);
    if (document.hidden) return active ? HIDDEN_ACTIVE_MS : HIDDEN_IDLE_MS;
    return active ? ACTIVE_MS : IDLE_MS;
  };

  const tick = async () => {
    clearTimeout(timer);
    timer = null;
    const mine = ++asked;
    try {
      const answer = await ask();
      if (mine !== asked) return; // a later question is under way; an older answer must not come after it
      jobs = answer;
      failures = 0;
      connected = true;
    } catch (failure) {
      if (mine !== asked) return;
      // A refusal is an answer: only silence (no status) and a server in trouble count as a lost connection.
      failures += 1;
      connected = Boolean(failure.status) && failure.status < 500;
      if (failure.status === 404) ticks = 0; // a job is gone: read the list again
    }
    tell();
    clearTimeout(timer);
    timer = setTimeout(tick, pause());
  };

  const soon = () => {
    ticks = 0;
    return tick();
  };

  document.addEventListener("visibilitychange", () => !document.hidden && soon());
  window.addEventListener("online", soon);

  window.sdwebui.jobs = {
    isActive,
    all: () => jobs,
    get: (id) => jobs.find((job) => job.id === id),
    running: () => jobs.find((job) => job.state === "running") || jobs.filter(isActive).at(-1),
    listen: (listener) => {
      listeners.add(listener);
      listener({ jobs, connected });
      if (asked === 0) soon();
    },
    soon,
    cancel: async (id) => {
      await request("DELETE", `/api/v1/jobs/${encodeURIComponent(id)}`);
      await soon();
    },
    skip: async () => {
      await request("POST", "/sdapi/v1/skip"); // acts on the person's own running job
      await soon();
    },
  };
})();
