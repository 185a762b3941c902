// The PNG Info tab: reads a picture's generation parameters. The file goes to /sdapi/v1/png-info and is not kept.
(() => {
  "use strict";
  const { el, say, request } = window.sdwebui;

  const asDataUrl = (file) =>
    new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(file);
    });

  window.sdwebui.pngInfo = (element) => {
    const input = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", class: "sd-offscreen", "aria-label": say("png_drop"), change: () => input.files[0] && read(input.files[0]) });
    const picture = el("div", { class: "sd-drop-content" });
    const zone = el(
      "label",
      {
        class: "sd-drop",
        dragover: (event) => {
          event.preventDefault();
          zone.classList.add("sd-over");
        },
        dragleave: () => zone.classList.remove("sd-over"),
        drop: (event) => {
          event.preventDefault();
          zone.classList.remove("sd-over");
          if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
        },
      },
      input,
      picture,
    );
    const result = el("div", { class: "sd-png-result", "aria-live": "polite" });

    const invite = () =>
      picture.replaceChildren(el("strong", { text: say("png_drop") }), el("span", { text: say("png_drop_hint") }));

    const others = (items) => {
      const rows = Object.entries(items || {}).filter(([name]) => name !== "parameters");
      if (rows.length === 0) return null;
      return el(
        "details",
        {},
        el("summary", { text: say("png_other") }),
        el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: String(value).slice(0, 2000) })])),
      );
    };

    const read = async (file) => {
      result.replaceChildren(el("p", { text: say("png_reading") }));
      try {
        const image = await asDataUrl(file);
        picture.replaceChildren(el("img", { src: image, alt: file.name }));
        const { info, items } = await request("POST", "/sdapi/v1/png-info", { image });
        const found = info
          ? [
              el("h3", { text: say("png_parameters") }),
              el("pre", { class: "sd-infotext-text", text: info }),
              el("div", { class: "sd-tools" }, el("button", { type: "button", class: "sd-tool sd-tool-primary", click: () => window.sdwebui.sendInfotext(info), text: say("send_to_txt2img") })),
            ]
          : [el("p", { text: say("png_none") })];
        result.replaceChildren(...[...found, others(items)].filter(Boolean));
      } catch (failure) {
        invite();
        result.replaceChildren(el("p", { class: "sd-notice", role: "alert", text: say("png_failed", { reason: failure.message }) }));
      }
    };

    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData ? event.clipboardData.files : [])].find((one) => one.type.startsWith("image/"));
      if (file && zone.offsetParent) read(file);
    });
    invite();
    element.replaceChildren(zone, result);
  };
})();
