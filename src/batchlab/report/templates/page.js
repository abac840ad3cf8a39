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

  // The charts of a figure that are in sight, side by side, in the colors that they have there.
  function picture(figure) {
    const style = getComputedStyle(document.documentElement);
    const plots = [...figure.querySelectorAll(".plot")].filter((plot) => plot.offsetHeight > 0);
    const charts = plots.map((plot, i) => {
      const chart = plot.querySelector("svg").cloneNode(true);
      for (const [name, value] of [["x", 380 * i], ["y", 24], ["width", 370], ["height", 260]])
        chart.setAttribute(name, value);
      const title = plot.parentElement.querySelector("figcaption").innerHTML;
      return `<text x="${380 * i + 8}" y="18" font-weight="600">${title}</text>${chart.outerHTML}`;
    });
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${380 * plots.length}" height="290"` +
      ` font-family="system-ui, sans-serif" font-size="13" fill="var(--text)">` +
      `<rect width="100%" height="100%" fill="var(--ground)"/>${charts.join("")}</svg>`
    ).replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  }
  function save(address, file) {
    const link = document.createElement("a");
    [link.href, link.download] = [address, file];
    link.click();
  }
  function saveImage(button) {
    const address = `data:image/svg+xml,${encodeURIComponent(picture(button.closest("[id^=figure]")))}`;
    const { image: kind, file } = button.dataset;
    if (kind === "svg") return save(address, file);
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      save(canvas.toDataURL(), file);
    };
    image.src = address;
  }
  function copyText(button) {
    // Also where a page has no right to the clipboard itself.
    getSelection().selectAllChildren(button.previousElementSibling);
    document.execCommand("copy");
  }
  for (const button of document.querySelectorAll("button")) {
    button.hidden = false;
    button.addEventListener("click", () => (button.dataset.image ? saveImage : copyText)(button));
  }
})();
