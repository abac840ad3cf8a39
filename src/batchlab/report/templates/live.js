// The page opens where the one before it was read.
(() => {
  const KEY = "batchlab-live";
  const folds = () => [...document.querySelectorAll("details")];
  // A new page may have more folds: each is known by its place within its section.
  function nameOf(fold) {
    const home = fold.closest("section[id]");
    return home ? `${home.id} ${[...home.querySelectorAll("details")].indexOf(fold)}` : "";
  }
  const topOf = (element) => element.getBoundingClientRect().top;
  const choices = () => [...document.querySelectorAll("input[type=radio]")];

  addEventListener("load", () => {
    const kept = JSON.parse(sessionStorage.getItem(KEY) || "null");
    if (!kept) return;
    sessionStorage.removeItem(KEY);
    for (const each of folds()) each.open = kept.open[nameOf(each)] ?? each.open;
    for (const each of choices()) {
      if (kept.chosen.includes(each.id) && !each.checked) each.click();
    }
    const section = kept.section && document.getElementById(kept.section);
    scrollTo(0, section ? scrollY + topOf(section) - kept.top : kept.y);
  });

  // It asks every few seconds whether it has changed, and loads itself again where it has.
  const SHOWN = {{ version | tojson }};
  const EVERY_MS = 3000;
  const note = document.getElementById("batchlab-live");

  function keep() {
    // What lies above the section that is read may have grown.
    const read = [...document.querySelectorAll("section[id]")].filter((each) => topOf(each) <= 0);
    const section = read.pop();
    sessionStorage.setItem(KEY, JSON.stringify({
      y: scrollY,
      section: section && section.id,
      top: section && topOf(section),
      open: Object.fromEntries(folds().map((each) => [nameOf(each), each.open])),
      chosen: choices().filter((each) => each.checked).map((each) => each.id),
    }));
  }

  async function look() {
    let answer;
    try {
      answer = await fetch("/", { method: "HEAD", cache: "no-store" });
    } catch {
      note.textContent = {{ say("The live page does not answer; this is what it showed last.") | tojson }};
      setTimeout(look, EVERY_MS);
      return;
    }
    if (!answer.ok) {  // the store could not be read just now
      setTimeout(look, EVERY_MS);
      return;
    }
    const said = decodeURIComponent(answer.headers.get("X-Batchlab-Status") || "");
    if (note.textContent !== said) note.textContent = said;  // else it would be read out again
    const isBeingRead = document.hidden || !getSelection().isCollapsed;
    if (answer.headers.get("ETag") !== SHOWN && !isBeingRead) {
      keep();
      location.reload();
      return;
    }
    setTimeout(look, 1000 * Number(answer.headers.get("X-Batchlab-Look-Again-S")));
  }

  setTimeout(look, EVERY_MS);
})();
