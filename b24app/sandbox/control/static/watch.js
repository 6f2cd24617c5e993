// The page under the hood: polls once a second, and updates only the rows that changed.
"use strict";

(() => {
  const EVERY = 1000; // milliseconds
  const portal = document.getElementById("portal");
  const pause = document.getElementById("pause");
  const pulse = document.getElementById("pulse");
  let seen = "";

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  const soft = (text) => element("span", "soft", text);
  const main = (text) => element("span", "main", text);
  const chip = (text, kind = "") => element("span", `chip ${kind}`, text);
  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
  const time = (seconds) => element("span", "time", clock(seconds));
  const where = (row) => (portal.value ? "" : row.portal);
  const who = (row) => [row.person, row.token ? `token ${row.token}` : ""].filter(Boolean).join(", ");
  const line = (tag, ...children) => element(tag, "row", ...children.filter((child) => child && child.textContent));
  const pretty = (value) => element("pre", "", JSON.stringify(value, null, 1));

  function outcome(row) {
    if (row.status === null) return row.milliseconds ? chip("connection cut", "bad") : chip("running…");
    const good = row.status === 200 && !row.code;
    return chip([row.status, row.code].filter(Boolean).join(" "), good ? "good" : "bad");
  }

  function commandLine([key, method, params, code]) {
    const ended = code ? chip(code, "bad") : chip("ok", "good");
    return line("div", soft(key), main(method), soft(JSON.stringify(params)), element("span", "end", ended));
  }

  function requestRow(row) {
    const failed = row.commands.filter((command) => command[3]).length;
    const batch = row.method === "batch" ? `${row.commands.length} commands${failed ? `, ${failed} failed` : ""}` : "";
    const summary = line("summary", time(row.at), soft(`#${row.id}`), soft(where(row)), main(row.method), soft(batch),
      soft(who(row)), element("span", "end", soft(row.milliseconds ? `${row.milliseconds} ms ` : ""), outcome(row)));
    const inside = element("div", "inside", pretty(row.params), ...row.commands.map(commandLine));
    return element("details", "", summary, inside);
  }

  const changeRow = (row) =>
    line("div", time(row.at), soft(where(row)), main(`task ${row.task}`), element("span", "", `${row.before} → ${row.after}`),
      soft(row.method), soft(who(row)), soft(row.request ? `request #${row.request}` : ""));

  const tokenRow = (row) =>
    line("div", main(`token ${row.id}`), soft(where(row)), element("span", "", row.person), soft(`chain ${row.chain}`),
      soft(`expires ${clock(row.expires)}`), element("span", "end", chip(row.state, row.state === "good" ? "good" : "")));

  function meter(value, limit) {
    const made = element("meter");
    Object.assign(made, { min: 0, max: limit, high: limit * 0.8, value });
    made.append(`${value} of ${limit}`);
    return made;
  }

  const bucketRow = (row) =>
    line("div", main("requests"), soft(where(row)), soft(row.address), meter(row.level, row.size),
      element("span", "", `${row.level} of ${row.size}`), soft(`drains ${row.drain} per second`));

  const operatingRow = (row) =>
    line("div", main(row.method), soft(where(row)), row.limit ? meter(row.spent, row.limit) : null,
      element("span", "", `${row.spent} s${row.limit ? ` of ${row.limit} s` : ""} of operating time`),
      soft(`oldest part expires at ${clock(row.at)}`));

  const RENDER = { requests: requestRow, changes: changeRow, tokens: tokenRow, buckets: bucketRow, operating: operatingRow };
  const EMPTY = { requests: "No requests yet.", changes: "No changes of status yet.", tokens: "No tokens yet.", buckets: "All buckets are empty." };

  // Rows keep their elements, so that an open or focused row stays open or focused.
  function show(name, rows) {
    const holder = document.getElementById(name);
    const old = new Map([...holder.children].map((child) => [child.dataset.row, child]));
    const wanted = rows.map((row, index) => {
      const text = JSON.stringify(row) + portal.value;
      const key = String(row.id ?? index);
      const known = old.get(key);
      if (known && known.dataset.text === text) return known;
      const made = RENDER[name](row);
      Object.assign(made.dataset, { row: key, text });
      if (known && known.open) made.open = true;
      return made;
    });
    if (!wanted.length && EMPTY[name]) wanted.push(element("p", "none", EMPTY[name]));
    [...holder.children].filter((child) => !wanted.includes(child)).forEach((child) => child.remove());
    wanted.forEach((child, index) => {
      if (holder.children[index] !== child) holder.insertBefore(child, holder.children[index] || null);
    });
  }

  async function look() {
    if (pause.checked || document.hidden) return;
    const query = new URLSearchParams({ portal: portal.value, seen });
    const answer = await fetch(`/control/news/?${query}`);
    if (answer.status === 200) {
      const { stamp, ...found } = await answer.json();
      seen = stamp;
      Object.entries(found).forEach(([name, rows]) => show(name, rows));
    }
    pulse.textContent = answer.ok ? "live" : `error: the sandbox answers ${answer.status}`;
  }

  async function watch() {
    await look().catch(() => { pulse.textContent = "the sandbox does not answer"; });
    if (pause.checked) pulse.textContent = "paused";
    setTimeout(watch, EVERY);
  }

  portal.addEventListener("change", () => { seen = ""; look().catch(() => {}); });
  watch();
})();
