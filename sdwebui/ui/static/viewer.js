// The right side of txt2img: what the job in focus is doing and what it made, and the person's queue below it.
// The elements are made once and only their contents change, so that nothing jumps or blinks.
(() => {
  "use strict";
  const { el, say, duration, remaining, copy, seedOf, jobs, lightbox } = window.sdwebui;

  const DOUBLE_CLICK_MS = 600;
  const BLANK = "blank"; // an empty stage: the job in focus has nothing to show yet
  const parts = {};
  let root = null;
  let focusId = null; // a job the person chose; null follows what runs
  let selected = null; // picture id chosen in the strip; null follows the newest
  let notice = null; // {kind, text} said above the picture, from sending
  let shownSource = "";
  let bridge = null;
  let stamped = { key: "", at: -DOUBLE_CLICK_MS };

  const make = () => {
    parts.notice = el("div", { class: "sd-notice", role: "alert", hidden: true });
    parts.stage = el("div", { class: "sd-stage" });
    parts.bar = el("div", { class: "sd-bar" });
    parts.label = el("span", { class: "sd-progress-label" });
    parts.progress = el(
      "div",
      { class: "sd-progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "data-state": "idle" },
      parts.bar,
      parts.label,
    );
    parts.strip = el("div", { class: "sd-strip", role: "list", hidden: true });
    parts.infotext = el("pre", { class: "sd-infotext-text" });
    parts.tools = el("div", { class: "sd-tools" });
    parts.details = el("div", { class: "sd-details", hidden: true }, parts.infotext, parts.tools);
    parts.warnings = el("ul", { class: "sd-warnings", hidden: true });
    parts.queue = el("div", { class: "sd-queue", hidden: true });
    return [parts.progress, parts.notice, parts.stage, parts.strip, parts.warnings, parts.details, parts.queue];
  };

  const focused = () => (focusId && jobs.get(focusId)) || jobs.running() || jobs.all()[0];

  const pictureLabel = (job, position) =>
    say("picture_of", { index: position + 1, count: job.images.length, seed: seedOf(job.images[position].infotext) });

  /** Show a source in the stage once it is decoded, so that the old picture stays until the new one can be painted. */
  const paint = async (source, label, open, isPreview) => {
    if (source === shownSource) return;
    shownSource = source;
    if (source === BLANK) {
      parts.stage.replaceChildren();
      return;
    }
    if (!source) {
      parts.stage.replaceChildren(
        el("div", { class: "sd-empty" }, el("strong", { text: say("viewer_empty") }), el("span", { text: say("viewer_empty_hint") })),
      );
      return;
    }
    const image = el("img", { src: source, alt: label, draggable: "true" });
    try {
      await image.decode();
    } catch {
      if (source === shownSource && !isPreview) parts.stage.replaceChildren(el("div", { class: "sd-empty", text: say("picture_gone") }));
      return;
    }
    if (source !== shownSource) return;
    parts.stage.replaceChildren(
      open ? el("button", { type: "button", class: "sd-stage-button", "aria-label": label, click: open }, image) : image,
    );
  };

  const drawStage = (job) => {
    if (!job) return paint("");
    const chosen = job.images.findIndex((image) => image.id === selected);
    const latest = job.images.length - 1;
    if (job.state === "running" && job.preview && chosen < 0) return paint(job.preview, say("preview_of"), null, true);
    const position = chosen >= 0 ? chosen : job.state === "running" ? latest : Math.min(0, latest);
    if (position < 0) return jobs.isActive(job) ? paint(BLANK) : paint("");
    const open = () =>
      lightbox(job.images.map((image, index) => ({ ...image, label: pictureLabel(job, index) })), position);
    return paint(job.images[position].url, pictureLabel(job, position), open);
  };

  const drawStrip = (job) => {
    const images = job ? job.images : [];
    parts.strip.hidden = images.length < 2;
    const key = images.map((image) => image.id).join();
    if (parts.strip.dataset.key !== key) {
      parts.strip.dataset.key = key;
      parts.strip.replaceChildren(
        ...images.map((image, position) =>
          el(
            "button",
            {
              type: "button",
              role: "listitem",
              "data-id": image.id,
              "aria-label": pictureLabel(job, position),
              click: () => {
                selected = image.id;
                draw();
              },
            },
            el("img", { src: image.url, alt: "", loading: "lazy", decoding: "async" }),
          ),
        ),
      );
    }
    const current = currentPicture(job);
    parts.strip.querySelectorAll("button").forEach((button) => {
      button.setAttribute("aria-current", String(Boolean(current) && button.dataset.id === current.id));
    });
  };

  const currentPicture = (job) => {
    if (!job || job.images.length === 0) return null;
    const chosen = job.images.find((image) => image.id === selected);
    return chosen || (job.state === "running" ? job.images.at(-1) : job.images[0]);
  };

  const progressText = (job) => {
    if (job.state === "queued") return job.position > 0 ? say("queued_behind", { count: job.position }) : say("queued_next");
    if (job.state === "done") return say("job_done", { time: duration(job.seconds || 0) });
    if (job.state === "cancelled")
      return job.seconds ? say("job_cancelled", { time: duration(job.seconds) }) : say("job_cancelled_waiting");
    if (job.state === "failed") return say("job_failed");
    if (!job.steps) return say("preparing");
    const facts = [`${Math.floor((job.progress || 0) * 100)} %`, say("progress_step", { step: job.step, steps: job.steps })];
    if (job.image_count > 1) facts.push(say("progress_image", { index: job.image_index + 1, count: job.image_count }));
    if (job.eta_s > 0) facts.push(say("progress_eta", { time: remaining(job.eta_s) }));
    if (job.attempt > 1) facts.push(say("job_retried", { attempt: job.attempt }));
    return facts.join("  ·  ");
  };

  const drawProgress = (job, connected) => {
    const state = !connected ? "offline" : notice && notice.kind === "sending" ? "sending" : job ? job.state : "idle";
    const share = !job ? 0 : job.state === "running" ? job.progress || 0 : job.state === "done" ? 1 : 0;
    parts.progress.dataset.state = state;
    parts.progress.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    parts.bar.style.width = `${(share * 100).toFixed(1)}%`;
    parts.label.textContent =
      state === "offline" ? say("connection_lost") : state === "sending" ? say("sending") : job ? progressText(job) : "";
    const running = jobs.running();
    document.title = running && running.state === "running" ? `[${Math.floor((running.progress || 0) * 100)}%] ${say("app_title")}` : say("app_title");
  };

  const drawNotice = (job) => {
    const failed = job && job.state === "failed" && job.error ? job.error.detail : "";
    const text = notice && notice.kind === "error" ? notice.text : failed;
    parts.notice.hidden = !text;
    if (parts.notice.textContent !== text) parts.notice.textContent = text;
  };

  const tool = (key, action) => el("button", { type: "button", class: "sd-tool", click: action, text: say(key) });

  const drawDetails = (job) => {
    const picture = currentPicture(job);
    parts.details.hidden = !picture;
    const warnings = job ? job.warnings || [] : [];
    parts.warnings.hidden = warnings.length === 0;
    if (parts.warnings.childElementCount !== warnings.length || parts.warnings.dataset.id !== (job && job.id)) {
      parts.warnings.dataset.id = job ? job.id : "";
      parts.warnings.replaceChildren(...warnings.map((sentence) => el("li", { text: sentence })));
    }
    if (!picture || parts.details.dataset.id === picture.id) return;
    parts.details.dataset.id = picture.id;
    parts.infotext.textContent = picture.infotext;
    const copyButton = tool("copy_parameters", async () => {
      await copy(picture.infotext);
      copyButton.textContent = say("copied");
      setTimeout(() => (copyButton.textContent = say("copy_parameters")), 1500);
    });
    parts.tools.replaceChildren(
      copyButton,
      tool("send_to_txt2img", () => window.sdwebui.sendInfotext(picture.infotext)),
      el("a", { class: "sd-tool", href: picture.url, download: `${seedOf(picture.infotext) || "picture"}.png`, text: say("download") }),
      el("a", { class: "sd-tool", href: picture.url, target: "_blank", rel: "noopener", text: say("open_original") }),
    );
  };

  const drawQueue = () => {
    const waiting = jobs.all().filter(jobs.isActive).reverse();
    parts.queue.hidden = waiting.length < 2;
    const key = waiting.map((job) => job.id + job.state).join();
    if (parts.queue.dataset.key === key) return;
    parts.queue.dataset.key = key;
    const row = (job) =>
      el(
        "li",
        {},
        el("button", { type: "button", class: "sd-queue-name", click: () => focus(job.id), text: `${say("state_" + job.state)} · ${job.prompt || job.id}` }),
        el("button", { type: "button", class: "sd-queue-cancel", "aria-label": say("cancel_job"), title: say("cancel_job"), click: () => act(jobs.cancel, job), text: "×" }),
      );
    parts.queue.replaceChildren(el("h3", { text: say("my_queue") }), el("ol", {}, ...waiting.map(row)));
  };

  const drawActions = () => {
    const running = jobs.running();
    document.querySelectorAll("[data-sd-action]").forEach((button) => {
      button.disabled = !running || (button.dataset.sdAction === "skip" && running.state !== "running");
    });
  };

  const draw = (news = { connected: true }) => {
    if (!root || !root.isConnected) return;
    const job = focused();
    drawProgress(job, news.connected);
    drawNotice(job);
    drawStage(job);
    drawStrip(job);
    drawDetails(job);
    drawQueue();
    drawActions();
  };

  const focus = (id) => {
    focusId = id;
    selected = null;
    notice = null;
    draw();
  };

  const act = async (action, job) => {
    if (!job) return;
    try {
      await action(job.id);
    } catch (failure) {
      notice = { kind: "error", text: failure.message };
      draw();
    }
  };

  Object.assign(window.sdwebui, {
    focus,
    currentSeed: () => {
      const picture = currentPicture(focused());
      return picture ? seedOf(picture.infotext) : "";
    },
    interrupt: () => act(jobs.cancel, jobs.running()),
    skip: () => act(jobs.skip, jobs.running()),
    sendInfotext: (infotext) => bridge && bridge(infotext),
    /** Called before the form travels: says so at once, and gives the click a key so that it makes one job only. */
    stamp: (values) => {
      notice = { kind: "sending" };
      selected = null;
      draw();
      const isSecondClick = performance.now() - stamped.at < DOUBLE_CLICK_MS;
      const key = isSecondClick ? stamped.key : crypto.getRandomValues(new Uint32Array(4)).join("-");
      stamped = { key, at: performance.now() };
      return [...values.slice(0, -1), key];
    },
    /** The server's word on the form: {"job": id} or {"error": sentence}. */
    submitted: async (outcome) => {
      const { job, error } = JSON.parse(outcome);
      notice = error ? { kind: "error", text: error } : null;
      if (job) focusId = jobs.running() ? focusId : null;
      await jobs.soon();
      if (job && !jobs.all().some((one) => one.id !== job && jobs.isActive(one))) focus(null);
    },
    notSubmitted: () => {
      notice = { kind: "error", text: say("send_failed") };
      draw();
    },
    viewer: (element) => {
      root = element;
      shownSource = null;
      element.replaceChildren(...make());
      jobs.listen(draw);
    },
    actions: (element) => {
      const button = (name) =>
        el("button", {
          type: "button",
          class: "sd-action",
          "data-sd-action": name,
          title: say(`${name}_help`),
          click: () => window.sdwebui[name](),
          text: say(name),
          disabled: true,
        });
      element.replaceChildren(button("interrupt"), button("skip"));
      drawActions();
    },
    attachBridge: (properties, trigger) => {
      bridge = (infotext) => {
        properties.value = infotext;
        trigger("submit");
      };
    },
  });
})();
