// The History tab: thumbnails of the person's pictures, newest first, a page at a time.
(() => {
  "use strict";
  const { el, say, jobs, lightbox, seedOf } = window.sdwebui;

  const PER_PAGE = 24;
  let root = null;
  let page = 0;
  let drawn = "";

  const pictures = () =>
    jobs.all().flatMap((job) =>
      job.images.map((image, position) => ({
        ...image,
        job: job.id,
        label: say("picture_of", { index: position + 1, count: job.images.length, seed: seedOf(image.infotext) }),
        caption: job.prompt || image.infotext.split("\n", 1)[0],
      })),
    );

  const turn = (step) => () => {
    page += step;
    draw();
  };

  const card = (picture, position, all) =>
    el(
      "figure",
      { class: "sd-card" },
      el(
        "button",
        { type: "button", "aria-label": picture.label, click: () => lightbox(all, position) },
        el("img", { src: picture.url, alt: "", loading: "lazy", decoding: "async" }),
      ),
      el("figcaption", { title: picture.caption }, picture.caption || "—"),
      el("button", { type: "button", class: "sd-tool", click: () => window.sdwebui.sendInfotext(picture.infotext), text: say("send_to_txt2img") }),
    );

  const draw = () => {
    if (!root || !root.isConnected) return;
    const all = pictures();
    const pages = Math.max(1, Math.ceil(all.length / PER_PAGE));
    page = Math.min(Math.max(0, page), pages - 1);
    const key = `${page}/${pages}:${all.map((picture) => picture.id).join()}`;
    if (key === drawn && root.childElementCount) return;
    drawn = key;
    const start = page * PER_PAGE;
    const shown = all.slice(start, start + PER_PAGE);
    const button = (label, step, usable) =>
      el("button", { type: "button", class: "sd-tool", click: turn(step), disabled: !usable, text: say(label) });
    root.replaceChildren(
      all.length === 0
        ? el("div", { class: "sd-empty", text: say("history_empty") })
        : el("div", { class: "sd-grid" }, ...shown.map((picture, position) => card(picture, start + position, all))),
    );
    if (pages > 1)
      root.append(
        el(
          "nav",
          { class: "sd-pager" },
          button("history_newer", -1, page > 0),
          el("span", { text: say("history_page", { page: page + 1, pages }) }),
          button("history_older", 1, page < pages - 1),
        ),
      );
  };

  window.sdwebui.history = (element) => {
    root = element;
    drawn = "";
    jobs.listen(draw);
  };
})();
