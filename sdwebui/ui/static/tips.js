// Tooltips of elements that Gradio makes. To add one: a row in TIPS (selector, text key).
(() => {
  "use strict";
  const { say } = window.sdwebui;

  const TIPS = [
    ["#sd-refresh", "refresh"],
    ["#sd-swap", "swap_sides"],
    ["#sd-native-size", "size_from_model"],
    ["#sd-random-seed", "seed_random"],
    ["#sd-reuse-seed", "seed_reuse"],
    ["#sd-read-parameters", "read_parameters_help"],
    [".sd-tokens-box", "tokens"],
  ];

  // Set when the pointer first comes near: Gradio draws its elements whenever it likes.
  document.addEventListener("mouseover", (event) => {
    for (const [selector, key] of TIPS) {
      const element = event.target.closest && event.target.closest(selector);
      if (element && !element.title) element.title = say(key);
    }
  });
})();
