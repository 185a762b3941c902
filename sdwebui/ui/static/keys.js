// Keys that A1111's users have in their fingers. To add one: a row in KEYS.
(() => {
  "use strict";

  const ATTENTION_STEP = 0.1;
  const press = (id) => {
    const holder = document.getElementById(id);
    const button = holder && (holder.tagName === "BUTTON" ? holder : holder.querySelector("button"));
    if (button) button.click();
  };
  const isPrompt = (target) => target.tagName === "TEXTAREA" && target.closest("#sd-prompt, #sd-negative-prompt");

  /** Raise or lower the weight of the selected words, "(words:1.1)", as in A1111. */
  const changeWeight = (area, step) => {
    const { value } = area;
    let { selectionStart: start, selectionEnd: end } = area;
    const weighted = /^\(([^()]*):([\d.]+)\)$/;
    if (start === end) {
      const open = value.lastIndexOf("(", start - 1);
      const close = value.indexOf(")", start);
      if (open >= 0 && close >= 0 && weighted.test(value.slice(open, close + 1))) [start, end] = [open, close + 1];
      else {
        while (start > 0 && !/[\s,()]/.test(value[start - 1])) start -= 1;
        while (end < value.length && !/[\s,()]/.test(value[end])) end += 1;
      }
    } else if (value[start - 1] === "(" && /^:[\d.]+\)/.test(value.slice(end))) {
      end += /^:[\d.]+\)/.exec(value.slice(end))[0].length;
      start -= 1;
    }
    if (start === end) return;
    const found = weighted.exec(value.slice(start, end));
    const words = found ? found[1] : value.slice(start, end);
    const weight = Math.round(((found ? Number(found[2]) : 1) + step) * 100) / 100;
    if (weight < 0) return;
    const replacement = weight === 1 ? words : `(${words}:${weight})`;
    area.setRangeText(replacement, start, end, "end");
    const shift = weight === 1 ? 0 : 1;
    area.setSelectionRange(start + shift, start + shift + words.length);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  };

  const KEYS = [
    { fits: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey), act: () => press("sd-generate") },
    { fits: (event) => event.key === "Enter" && event.altKey, act: () => window.sdwebui.skip() },
    {
      fits: (event) => event.key === "Escape" && !document.querySelector("dialog[open], ul[role=listbox]"),
      act: () => window.sdwebui.interrupt(),
    },
    {
      fits: (event) => (event.key === "ArrowUp" || event.key === "ArrowDown") && (event.ctrlKey || event.metaKey) && isPrompt(event.target),
      act: (event) => changeWeight(event.target, event.key === "ArrowUp" ? ATTENTION_STEP : -ATTENTION_STEP),
    },
  ];

  document.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const key = KEYS.find(({ fits }) => fits(event));
    if (!key) return;
    event.preventDefault();
    key.act(event);
  });
})();
