// Charts need no script. This adds the words of the mark under the pointer, and copies commands.
(() => {
  const words = document.createElement("p");
  words.className = "words";
  words.hidden = true;
  document.body.append(words);

  function nearestMark(plot, { clientX, clientY }) {
    let [nearest, least] = [null, 40]; // pixels
    for (const mark of plot.querySelectorAll("[aria-label]")) {
      const { x, y, width, height } = mark.getBoundingClientRect();
      const away = Math.hypot(x + width / 2 - clientX, y + height / 2 - clientY);
      if (away <= least) [nearest, least] = [mark, away];
    }
    return nearest;
  }
  function showWords(mark) {
    document.querySelector(".near")?.classList.remove("near");
    words.hidden = !mark;
    if (!mark) return;
    mark.classList.add("near");
    words.textContent = mark.getAttribute("aria-label");
    const { right, bottom } = mark.getBoundingClientRect();
    words.style.left = `${Math.min(right + 8, innerWidth - words.offsetWidth - 8)}px`;
    words.style.top = `${Math.min(bottom + 8, innerHeight - words.offsetHeight - 8)}px`;
  }
  for (const plot of document.querySelectorAll(".plot")) {
    for (const moved of ["pointermove", "pointerdown"])
      plot.addEventListener(moved, (event) => showWords(nearestMark(plot, event)));
    // A finger leaves when it is lifted; then the words stay until the page scrolls.
    plot.addEventListener("pointerleave", ({ pointerType }) => {
      if (pointerType !== "touch") showWords(null);
    });
  }
  addEventListener("scroll", () => showWords(null));

  for (const button of document.querySelectorAll("button")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      // Also where a page has no right to the clipboard itself.
      getSelection().selectAllChildren(button.previousElementSibling);
      document.execCommand("copy");
    });
  }
})();
