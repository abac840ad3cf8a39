// Each still chart becomes a live one when it comes into sight; until then, and if this fails,
// the still one stays.
(() => {
  const { rows, panels } = JSON.parse(document.getElementById("batchlab-figures").textContent);
  const views = (window.batchlabViews = {});

  function draw(plot) {
    const { data, spec } = panels[plot.id];
    const live = document.createElement("div");
    live.className = "live";
    live.setAttribute("aria-hidden", "true");
    plot.append(live);
    const sized = { ...spec, width: "container", height: "container" };
    sized.datasets = { [data]: structuredClone(rows[data]) };
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

  // A chart that was hidden while the window changed has to learn its width.
  for (const radio of document.querySelectorAll("input[name=view]")) {
    radio.addEventListener("change", () => window.dispatchEvent(new Event("resize")));
  }
})();
