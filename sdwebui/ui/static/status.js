// The worker's state in the quick row, from /readyz, asked often while it starts and seldom afterwards.
(() => {
  "use strict";
  const { el, say } = window.sdwebui;

  const STARTING_MS = 1500;
  const READY_MS = 15000;

  const describe = (worker) => {
    const facts = [worker.device, worker.precision, worker.accelerator].filter(Boolean).join(" · ");
    const state = say(`worker_${worker.state}`);
    return worker.state === "ready" && facts ? `${state} · ${facts}` : state;
  };

  window.sdwebui.status = (element) => {
    const dot = el("span", { class: "sd-dot", "data-state": "starting" });
    const line = el("span", { text: say("worker_starting") });
    element.replaceChildren(el("span", { class: "sd-status", role: "status" }, dot, line));
    const ask = async () => {
      let worker = { state: "unknown" };
      try {
        const answer = await fetch("/readyz", { credentials: "same-origin", headers: { Accept: "application/json" } });
        const facts = await answer.json(); // while the worker starts, the status is 503 and the facts come all the same
        if (facts.status) worker = { ...facts, state: facts.status };
      } catch {
        // No answer: the line says so, and the next question comes soon.
      }
      dot.dataset.state = worker.state;
      line.textContent = describe(worker);
      line.title = worker.detail || "";
      if (element.isConnected) setTimeout(ask, worker.state === "ready" ? READY_MS : STARTING_MS);
    };
    ask();
  };
})();
