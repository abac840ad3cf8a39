// A browser starts no worker for a page that was opened from a disk. The search of such a page runs
// in a hidden frame instead. (The `offline` plugin would fetch a script for this from elsewhere.)
if (location.protocol === "file:") {
  const load = (inside, url) =>
    new Promise((resolve) => {
      const script = inside.document.createElement("script");
      script.src = url;
      script.onload = resolve;
      inside.document.body.append(script);
    });

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      this.inside.document.open();
      this.inside.document.write("<!doctype html><body></body>");
      this.inside.document.close();
      this.inside.postMessage = (data) =>
        this.dispatchEvent(new MessageEvent("message", { data }));
      this.inside.importScripts = (...urls) =>
        urls.reduce((before, each) => before.then(() => load(this.inside, each)), Promise.resolve());
      this.ready = load(this.inside, url);
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
