// Charts need no script. This adds the words of the mark under the pointer, and buttons.
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
    plot.addEventListener("pointerleave", () => showWords(null));
  }
  addEventListener("scroll", () => showWords(null));

  function save(content, file) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = file;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // The charts of a figure that are in sight, side by side, in the colors that they have there.
  function picture(figure) {
    const style = getComputedStyle(document.documentElement);
    const plots = [...figure.querySelectorAll(".plot")].filter((plot) => plot.offsetHeight > 0);
    const [across, down] = [400, 310];
    const charts = plots.map((plot, i) => {
      const chart = plot.querySelector("svg").cloneNode(true);
      for (const [name, value] of Object.entries({ x: i * across, y: 24, width: across, height: 280 }))
        chart.setAttribute(name, value);
      const title = plot.parentElement.querySelector("figcaption").innerHTML;
      return `<text x="${i * across + 8}" y="18" font-weight="600">${title}</text>${chart.outerHTML}`;
    });
    const width = across * plots.length;
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${down}"` +
      ` font-family="system-ui, sans-serif" font-size="13" fill="var(--text)">` +
      `<rect width="100%" height="100%" fill="var(--ground)"/>${charts.join("")}</svg>`
    ).replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  }
  function png(svg, then) {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob(then);
    };
    image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  }

  const pressed = {
    image(button, { image, file }) {
      const svg = picture(button.closest("[id^=figure]"));
      if (image === "png") png(svg, (blob) => save(blob, file));
      else save(new Blob([svg], { type: "image/svg+xml" }), file);
    },
    copy(button) {
      // Also where a page has no right to the clipboard itself.
      getSelection().selectAllChildren(button.previousElementSibling);
      document.execCommand("copy");
    },
  };
  for (const button of document.querySelectorAll("button")) {
    const act = Object.keys(pressed).find((name) => name in button.dataset);
    button.hidden = false;
    button.addEventListener("click", () => pressed[act](button, button.dataset));
  }
})();
