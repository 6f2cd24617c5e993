// The script of the desktop: sliders, menus, and the portal's side of the frame protocol.
//
// A frame sends "command:json:key:sid". The json may be missing, so the text is parsed from the right. A command with
// a colon in its name comes as {method, params, callback, appSid}. The portal answers "key:json" or "key:". It does
// not answer a foreign origin, a wrong sid, an unknown command, or a command that is denied in this place.
"use strict";

(() => {
  const OPENABLE = /^\/(crm\/(deal|lead|contact|company|type)|marketplace|company\/personal\/user\/[0-9]+|workgroups\/group\/[0-9]+)\//;
  const NOT_IN_PLACEMENTS = ["setTitle", "setScroll", "reloadWindow"];
  const NOT_IN_SLIDERS = ["resizeWindow"];
  const WATCH_EVERY = 1500; // milliseconds between two checks for changed tasks

  // For tests: commands that get no answer, a refresh that fails, a portal inside the mobile app.
  const query = new URLSearchParams(location.search);
  const knobs = {
    mute: (query.get("mute") || "").split(",").filter(Boolean),
    failRefresh: query.has("fail_refresh"),
    mobile: query.has("mobile"),
  };
  const log = []; // all messages that reached this window: {command, params, answered, why}
  window.sandboxKnobs = knobs;
  window.sandboxLog = log;

  const words = document.body.dataset;

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    made.append(...children);
    return made;
  };

  async function ask(address, body) {
    const answer = await fetch(address, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${address} answered ${answer.status}`);
    return answer.json();
  }

  // -- Sliders ---------------------------------------------------------------------------------------------

  const sliders = [];

  // Show content in a panel from the right, above the page. `whenClosed` runs after it is closed.
  function openSlider(title, width, fillIn, whenClosed = () => {}) {
    const panel = element("div", { class: "slider-panel", role: "dialog", "aria-label": title });
    const closer = element("button", { class: "slider-close", type: "button", "aria-label": words.close }, "✕");
    panel.append(closer);
    if (width) panel.style.maxWidth = `${Number(width)}px`;
    const shade = element("div", { class: "slider" }, panel);
    const slider = { panel, close };
    function close() {
      if (!shade.isConnected) return;
      sliders.splice(sliders.indexOf(slider), 1);
      shade.remove();
      document.body.classList.toggle("has-slider", sliders.length > 0);
      if (!sliders.length) look(true);
      whenClosed();
    }
    closer.addEventListener("click", close);
    shade.addEventListener("click", (event) => event.target === shade && close());
    sliders.push(slider);
    document.body.append(shade);
    document.body.classList.add("has-slider");
    fillIn(panel, slider);
    closer.focus();
    return slider;
  }

  function openPage(path, whenClosed) {
    const url = new URL(path, location.origin);
    url.searchParams.set("IFRAME", "Y");
    url.searchParams.set("IFRAME_TYPE", "SIDE_SLIDER");
    return openSlider(url.pathname, 0, (panel) => {
      panel.append(element("iframe", { class: "slider-frame", src: url.pathname + url.search, title: url.pathname }));
    }, whenClosed);
  }

  function openAppSlider(installation, placement, options, { width, title, whenClosed } = {}) {
    return openSlider(title || "", width, (panel, slider) => {
      const reopen = () => {
        slider.close();
        openAppSlider(installation, placement, options, { width, title, whenClosed });
      };
      mount(panel, { installation, placement, options }, { slider, reopen });
    }, whenClosed);
  }

  // A page inside a slider opens further sliders in the window around it.
  const around = window.parent !== window && window.parent.sandboxDesktop;
  const desktop = around || { openPage, openAppSlider };
  window.sandboxDesktop = desktop;

  // -- App frames ------------------------------------------------------------------------------------------

  const frames = new Set();

  // Open the app in `container`. `place` is {slider, reopen} in a slider, else {}.
  async function mount(container, wish, place) {
    let opening;
    try {
      opening = await ask("/desktop/frame/", wish);
    } catch (error) {
      container.append(element("p", { class: "hint" }, error.message));
      return;
    }
    const iframe = element("iframe", {
      id: `appframe_${opening.sid}`,
      name: opening.frame,
      title: opening.title,
      class: "app-frame app-loading",
      allow: "geolocation *; microphone *; camera *; autoplay *;",
    });
    iframe.addEventListener("load", () => iframe.classList.remove("app-loading"));
    const fields = opening.fields.map(([name, value]) => element("input", { type: "hidden", name, value }));
    const form = element("form", { method: "post", action: opening.url, target: opening.frame, hidden: "" }, ...fields);
    container.append(iframe, form);
    frames.add({ iframe, opening, place });
    form.submit();
  }

  function parse(data) {
    if (typeof data === "object" && data !== null && typeof data.method === "string") {
      return { command: data.method, params: data.params || {}, key: data.callback || "", sid: data.appSid };
    }
    if (typeof data !== "string") return null;
    const parts = data.split(":");
    if (parts.length < 3) return null;
    const sid = parts.pop();
    const key = parts.pop();
    const command = parts.shift();
    const json = parts.join(":");
    try {
      return { command, params: json ? JSON.parse(json) : {}, key, sid };
    } catch {
      return null;
    }
  }

  window.addEventListener("message", (event) => {
    const frame = [...frames].find(({ iframe }) => iframe.isConnected && iframe.contentWindow === event.source);
    const message = parse(event.data);
    const note = { command: message && message.command, params: message && message.params, answered: false, why: "" };
    log.push(note);
    if (!frame) note.why = "not from an app frame of this window";
    else if (event.origin !== frame.opening.origin) note.why = `origin ${event.origin}`;
    else if (!message || message.sid !== frame.opening.sid) note.why = "not understood";
    else if (knobs.mute.includes(message.command)) note.why = "muted";
    else if (!Object.hasOwn(commands, message.command)) note.why = "unknown";
    else if (denied(frame, message.command)) note.why = "denied here";
    if (note.why) return;
    const answer = (result) => {
      note.answered = true;
      if (!frame.iframe.isConnected) return;
      const json = result === undefined ? "" : JSON.stringify(result);
      frame.iframe.contentWindow.postMessage(`${message.key}:${json}`, frame.opening.origin);
    };
    commands[message.command](message.params, answer, frame);
  });

  function denied(frame, command) {
    const inPlacement = frame.opening.init.PLACEMENT !== "DEFAULT";
    return (inPlacement && NOT_IN_PLACEMENTS.includes(command)) || (frame.place.slider && NOT_IN_SLIDERS.includes(command));
  }

  // A command answers by calling `answer`. One that does not call it sends no answer.
  const commands = {
    getInitData: (params, answer, { opening }) => answer(opening.init),

    async setInstall(params, answer, { opening }) {
      await ask("/desktop/frame/option/", { installation: opening.installation, name: "install", value: true });
      answer(params);
    },

    // Never answered: the portal opens the app again, now without the installer.
    async setInstallFinish(params, answer, { opening, place }) {
      if (!opening.init.IS_ADMIN || !opening.init.INSTALL || params.value === false) return;
      await ask("/desktop/frame/finish/", { installation: opening.installation });
      if (place.reopen) place.reopen();
      else location.href = `${opening.page}?install_finished=Y`;
    },

    // Like a real portal: if it fails, an alert and no answer.
    async refreshAuth(params, answer, { opening }) {
      try {
        if (knobs.failRefresh) throw new Error("refresh failed");
        answer(await ask("/desktop/frame/refresh/", { installation: opening.installation }));
      } catch (error) {
        window.alert(error.message);
      }
    },

    resizeWindow(params, answer, { iframe }) {
      const height = Math.max(0, Number.parseInt(params.height, 10) || 0);
      const width = params.width === "100%" ? "100%" : `${Number.parseInt(params.width, 10) || 100}px`;
      iframe.style.height = `${height}px`;
      iframe.style.width = width;
      answer({ width: iframe.offsetWidth, height: iframe.offsetHeight });
    },

    setTitle(params, answer) {
      document.getElementById("pagetitle").textContent = params.title;
      answer(params);
    },

    setScroll(params, answer) {
      window.scrollTo(0, Number(params.scroll) || 0);
      answer(params);
    },

    reloadWindow: () => location.reload(),

    openApplication(params, answer, { opening }) {
      const own = ["bx24_width", "bx24_leftBoundary", "bx24_title", "bx24_label"];
      const options = Object.fromEntries(Object.entries(params).filter(([name]) => !own.includes(name)));
      const shape = { width: params.bx24_width, title: params.bx24_title, whenClosed: () => answer() };
      desktop.openAppSlider(opening.installation, null, options, shape);
    },

    closeApplication(params, answer, { place }) {
      if (!place.slider) return;
      answer();
      place.slider.close();
    },

    openPath(params, answer) {
      const path = openablePath(String(params.path));
      if (knobs.mobile) answer({ result: "error", errorCode: "METHOD_NOT_SUPPORTED_ON_DEVICE" });
      else if (!path) answer({ result: "error", errorCode: "PATH_NOT_AVAILABLE" });
      else desktop.openPage(path, () => answer({ result: "close" }));
    },

    selectUser: (params, answer) => choosePeople(Boolean(params.mult), answer),

    async setUserOption(params, answer, { opening }) {
      await ask("/desktop/frame/option/", { installation: opening.installation, ...params });
      answer(params);
    },

    async setAppOption(params, answer, { opening }) {
      if (!opening.init.IS_ADMIN) return;
      await ask("/desktop/frame/option/", { installation: opening.installation, for_all: true, ...params });
      answer(params);
    },

    getInterface: (params, answer) => answer({ command: [], event: [] }),

    // The lists have no events to bind. A real portal does not answer for unknown events either.
    placementBindEvent: () => {},
  };

  // The path that a slider may show, with ".." and "." resolved, or "" if it may not be shown.
  function openablePath(path) {
    if (!OPENABLE.test(path)) return "";
    const url = new URL(path, location.origin);
    if (url.origin !== location.origin || !OPENABLE.test(url.pathname)) return "";
    url.searchParams.set("from", "rest_placement");
    return url.pathname + url.search;
  }

  async function choosePeople(several, answer) {
    const { people } = await (await fetch("/desktop/people/")).json();
    const dialog = element("dialog", { class: "choose", "aria-label": words.selectPerson });
    dialog.append(element("h2", {}, words.selectPerson));
    const chosen = new Set();
    const done = (result) => {
      dialog.close();
      dialog.remove();
      if (result) answer(result);
    };
    people.forEach((person) => {
      const button = element("button", { type: "button", class: "btn" }, person.name);
      button.addEventListener("click", () => {
        if (!several) return done(person);
        if (!chosen.delete(person)) chosen.add(person);
        return button.setAttribute("aria-pressed", chosen.has(person));
      });
      dialog.append(button);
    });
    if (several) {
      const ready = element("button", { type: "button", class: "btn primary" }, "OK");
      ready.addEventListener("click", () => done([...chosen]));
      dialog.append(ready);
    }
    const cancel = element("button", { type: "button", class: "btn" }, words.cancel);
    cancel.addEventListener("click", () => done(null));
    dialog.append(cancel);
    document.body.append(dialog);
    dialog.showModal();
  }

  // -- The page itself -------------------------------------------------------------------------------------

  const wishOf = ({ openApp, tabApp, appPage, placement, options }) => ({
    installation: Number(openApp || tabApp || appPage),
    placement: placement ? Number(placement) : null,
    options: JSON.parse(options || "{}"),
  });

  document.querySelectorAll("[data-app-page]").forEach((holder) => mount(holder, wishOf(holder.dataset), {}));

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-slider]");
    if (link && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      desktop.openPage(link.getAttribute("href"));
    }
    const app = event.target.closest("[data-open-app]");
    if (app) {
      const wish = wishOf(app.dataset);
      desktop.openAppSlider(wish.installation, wish.placement, wish.options, { title: app.textContent });
    }
    const tab = event.target.closest("[data-tab-app]");
    if (tab) {
      const holder = document.getElementById("tab");
      holder.replaceChildren();
      mount(holder, wishOf(tab.dataset), {});
    }
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      if (!menu.contains(event.target) || link || app) menu.open = false;
    });
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && sliders.length) sliders.at(-1).close();
  });

  document.addEventListener("change", () => {
    const ticked = document.querySelector("[data-ticked]");
    if (ticked) ticked.textContent = document.querySelectorAll(".tick input:checked").length;
  });

  // Show status changes by other users. A real portal pushes them into open pages.
  let lastChange = Number(words.lastChange);
  async function look(always = false) {
    const live = document.getElementById("live");
    const busy = () => document.hidden || live.querySelector("details[open]");
    if (!live || busy()) return;
    const pulse = await fetch("/desktop/pulse/");
    if (!pulse.ok || pulse.redirected) return;
    const { last_change: last } = await pulse.json();
    if (last === lastChange && !always) return;
    const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const replacement = fresh.getElementById("live");
    if (!replacement || busy()) return;
    lastChange = last;
    if (live.isEqualNode(replacement)) return;
    const ticked = [...live.querySelectorAll("tr:has(.tick input:checked)")].map((row) => row.dataset.task);
    live.replaceWith(replacement);
    ticked.forEach((task) => {
      const box = replacement.querySelector(`tr[data-task="${task}"] .tick input`);
      if (box) box.click();
    });
  }
  if (document.getElementById("live")) setInterval(() => look().catch(() => {}), WATCH_EVERY);
})();
