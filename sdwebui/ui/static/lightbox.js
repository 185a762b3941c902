// A picture in full size over the page. A <dialog>, so that Esc, focus and screen readers work by themselves.
(() => {
  "use strict";
  const { el, say } = window.sdwebui;

  let dialog = null;
  let pictures = [];
  let index = 0;

  const show = (wanted) => {
    index = (wanted + pictures.length) % pictures.length;
    const { url, infotext, label } = pictures[index];
    const image = dialog.querySelector("img");
    image.src = url;
    image.alt = label;
    dialog.querySelector("figcaption").textContent = infotext;
    dialog.querySelector(".sd-lightbox-count").textContent = pictures.length > 1 ? `${index + 1} / ${pictures.length}` : "";
    dialog.querySelectorAll(".sd-lightbox-turn").forEach((button) => (button.hidden = pictures.length < 2));
  };

  const button = (kind, label, sign, action) =>
    el("button", { class: `sd-lightbox-${kind}`, type: "button", "aria-label": label, title: label, click: action }, sign);

  const build = () => {
    const turn = (step) => () => show(index + step);
    dialog = el(
      "dialog",
      {
        class: "sd-lightbox",
        click: (event) => (event.target === dialog || event.target.tagName === "FIGURE") && dialog.close(),
        keydown: (event) => {
          if (event.key === "ArrowLeft") show(index - 1);
          else if (event.key === "ArrowRight") show(index + 1);
          if (event.key === "Escape") event.stopPropagation();
        },
      },
      el("figure", {}, el("img", {}), el("figcaption", {})),
      el("span", { class: "sd-lightbox-count" }),
      button("turn sd-lightbox-previous", say("previous"), "‹", turn(-1)),
      button("turn sd-lightbox-next", say("next"), "›", turn(1)),
      button("close", say("close"), "×", () => dialog.close()),
    );
    document.body.append(dialog);
  };

  /** Open picture `start` of a list of {url, infotext, label}. */
  window.sdwebui.lightbox = (list, start) => {
    if (!dialog) build();
    pictures = list;
    show(start);
    dialog.showModal();
  };
})();
