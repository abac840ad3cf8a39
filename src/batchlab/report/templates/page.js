// Each still chart becomes a live one when it comes into sight; until then, and if this fails,
// the still one stays.
(() => {
  // Vega is packed. A browser that cannot unpack it keeps the still charts.
  async function loadVega() {
    const text = document.getElementById("batchlab-vega").textContent;
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
  }
  const vega = loadVega().catch((error) => console.error(`charts stay still: ${error}`));

  const { layout, rows, panels } = JSON.parse(
    document.getElementById("batchlab-figures").textContent,
  );
  // The names of the fields are stored once.
  const rowsOf = (data) =>
    rows[data].values.map((values) =>
      Object.fromEntries(values.map((value, i) => [rows[data].fields[i], value])),
    );
  const views = (window.batchlabViews = {});

  async function draw(plot) {
    await vega;
    if (!window.vegaEmbed) return;
    const { data, spec } = panels[plot.id];
    const live = document.createElement("div");
    live.className = "live";
    live.setAttribute("aria-hidden", "true");
    plot.append(live);
    const sized = { ...spec, width: "container", height: "container" };
    sized.datasets = { rows: rowsOf(data) };
    vegaEmbed(live, sized, { actions: false, renderer: "svg" }).then(
      ({ view }) => {
        plot.classList.add("drawn");
        views[plot.id] = view;
      },
      (error) => {
        live.remove();
        console.error(`chart ${plot.id} stays still: ${error}`);
      },
    );
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        draw(target);
      }
    },
    { rootMargin: "200px" },
  );
  for (const id of Object.keys(panels)) seen.observe(document.getElementById(id));

  // The rows of a figure as a file; without scripts its table has the numbers.
  function csv(data) {
    const fields = rows[data].fields.filter((field) => !layout.includes(field));
    const cell = (value) => {
      const text = String(value ?? "");
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = rowsOf(data).map((row) => fields.map((field) => cell(row[field])));
    return [fields, ...lines].map((line) => line.join(",") + "\n").join("");
  }
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
      const chart = plot.querySelector(".live svg, .still svg").cloneNode(true);
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
    rows: (button, { rows: data, file }) => save(new Blob([csv(data)]), file),
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

  // A chart that was hidden while the window changed has to learn its width.
  for (const radio of document.querySelectorAll("input[name=view]"))
    radio.addEventListener("change", () => window.dispatchEvent(new Event("resize")));
})();
