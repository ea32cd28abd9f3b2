"use strict";
(() => {
  const holder = document.getElementById("embedding-data");
  const copy = document.getElementById("copy-methods");
  if (copy) copy.addEventListener("click", async () => {
    const text = document.getElementById("methods-text");
    const said = document.getElementById("copy-said");
    try {
      await navigator.clipboard.writeText(text.textContent);
      said.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(text);
      said.textContent = "Selected: copy it with Ctrl+C or ⌘C.";
    }
  });
  if (!holder) return;

  const data = JSON.parse(holder.textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const points = (text) => text && new DataView(bytes(text).buffer);
  const panels = [...document.querySelectorAll("canvas[data-panel]")].map((canvas) => ({
    canvas, xy: points(data[canvas.dataset.panel]),
  }));
  const codes = data.columns.map((column) => bytes(column.codes));
  const MISSING = -32768;
  let shown = 0;
  let lit = null;

  // One path a marker, in a box from -1 to 1; the same shapes as in the legend.
  const SHAPES = [
    (c) => c.arc(0, 0, 1, 0, 7),
    (c) => { c.moveTo(0, -1.25); c.lineTo(1.15, .85); c.lineTo(-1.15, .85); c.closePath(); },
    (c) => c.rect(-.9, -.9, 1.8, 1.8),
    (c) => { c.moveTo(0, -1.3); c.lineTo(1.3, 0); c.lineTo(0, 1.3); c.lineTo(-1.3, 0); c.closePath(); },
  ];

  // A fixed scattered order, so that the last batch does not lie on top of the others.
  const order = Array.from({ length: data.n }, (_, i) => i)
    .sort((a, b) => (a * 2654435761 % 4294967296) - (b * 2654435761 % 4294967296));

  function draw({ canvas, xy }) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const c = canvas.getContext("2d");
    const column = data.columns[shown];
    const radius = Math.max(1.5, Math.min(4, width / (data.n > 1500 ? 260 : 130)));
    const edge = 14;
    const side = Math.min(width, height) - 2 * edge;
    const faded = (code) => lit !== null && code !== lit;
    for (const pass of lit === null ? [false] : [true, false]) {
      for (const i of order) {
        const code = codes[shown][i];
        if (lit !== null && faded(code) !== pass) continue;
        const u = xy.getInt16(i * 4, true), v = xy.getInt16(i * 4 + 2, true);
        if (u === MISSING) continue;
        const x = width / 2 + u / 32767 * side / 2, y = height / 2 - v / 32767 * side / 2;
        const { colour, shape } = column.values[code];
        c.setTransform(ratio * radius, 0, 0, ratio * radius, x * ratio, y * ratio);
        c.beginPath();
        SHAPES[shape](c);
        c.globalAlpha = faded(code) ? .07 : .72;
        c.fillStyle = colour;
        c.fill();
      }
    }
    canvas.setAttribute("aria-label", `${canvas.dataset.title}, coloured by ${column.name}`);
  }

  const drawAll = () => panels.forEach(draw);

  function legend() {
    const list = document.getElementById("embedding-keys");
    list.replaceChildren(...data.columns[shown].values.map((value, code) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      const mark = `<path d="${data.shapes[value.shape]}" fill="${value.colour}"/>`;
      button.innerHTML = `<svg viewBox="-1.5 -1.5 3 3" aria-hidden="true">${mark}</svg>`;
      const n = document.createElement("span");
      n.className = "n";
      n.textContent = value.n.toLocaleString("en");
      button.type = "button";
      button.setAttribute("aria-pressed", String(lit === code));
      button.append(value.name, n);
      button.addEventListener("click", () => {
        lit = lit === code ? null : code;
        list.querySelectorAll("button").forEach((b, k) => b.setAttribute("aria-pressed", String(lit === k)));
        drawAll();
      });
      item.append(button);
      return item;
    }));
  }

  document.querySelectorAll("input[name=colour-by]").forEach((input) =>
    input.addEventListener("change", () => {
      shown = Number(input.value);
      lit = null;
      legend();
      drawAll();
    }));
  legend();
  drawAll();
  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(drawAll);
  });
})();
