// What opens above the page: the program, downloads, what can be seen.

import { CONTROLS, element, OTHERS } from "./controls.js";

const byId = (id) => document.getElementById(id);

/** `act` has hidden(), hide(name, isHidden), save(kind) and link(). */
export function makeDialogs(act) {
  const program = byId("program");
  const code = program.querySelector("pre");

  function download(name, content) {
    const address = URL.createObjectURL(new Blob([content]));
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  async function copy(text, button) {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed here";
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  byId("copy").addEventListener("click", ({ target }) => copy(code.textContent, target));
  byId("copy-link").addEventListener("click", ({ target }) => copy(act.link(), target));
  byId("save-program").addEventListener("click", () => download("playground.py", code.textContent));
  for (const button of document.querySelectorAll("[data-file]")) {
    button.addEventListener("click", () => {
      act.save(button.dataset.file);
      byId("files").close();
    });
  }

  const names = [
    ...OTHERS, ...CONTROLS.filter(({ place }) => place !== "more").map((c) => [c.name, c.label]),
  ];
  const boxes = names.map(([name, label]) => {
    const input = element("input", { type: "checkbox", id: `hide-${name}` });
    input.addEventListener("change", () => act.hide(name, !input.checked));
    const text = element("label", { htmlFor: input.id }, label);
    byId("hiding").append(element("div", { className: "control flag" }, input, text));
    return { name, input };
  });

  return {
    download,
    showProgram(text) {
      code.textContent = text;
      program.showModal();
    },
    showHidden() {
      for (const { name, input } of boxes) input.checked = !act.hidden().has(name);
    },
  };
}
