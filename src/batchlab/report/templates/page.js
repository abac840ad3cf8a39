// Each still chart becomes a live one when it comes into sight; until then, and if this fails,
// the still one stays.
(() => {
  const { layout, rows, panels } = JSON.parse(
    document.getElementById("batchlab-figures").textContent,
  );
  // The names of the fields are told once.
  const rowsOf = (data) =>
    rows[data].values.map((values) =>
      Object.fromEntries(values.map((value, i) => [rows[data].fields[i], value])),
    );
  const views = (window.batchlabViews = {});

  function draw(plot) {
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
  for (const button of document.querySelectorAll("button[data-rows]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(button.dataset.rows)]));
      link.download = button.dataset.file;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  // A chart that was hidden while the window changed has to learn its width.
  for (const radio of document.querySelectorAll("input[name=view]")) {
    radio.addEventListener("change", () => window.dispatchEvent(new Event("resize")));
  }
})();
