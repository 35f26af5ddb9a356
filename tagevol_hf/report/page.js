"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const plain = (text) => text.normalize("NFKC").toLowerCase();
  const count = (number) => number.toLocaleString("en");
  const MOST = 100; // rows of one list that a search shows; laying out thousands takes seconds
  const make = (name, text, classes = "") => Object.assign(document.createElement(name), { textContent: text, className: classes });

  // Lists: rows whose tags hold every word of the search stay.
  function finder(box) {
    const input = box.querySelector("input");
    const status = box.querySelector("[role=status]");
    const lists = all("[data-rows]", box).map((list) => ({ list, fold: list.closest("details"), rows: [...list.children] }));
    const total = lists.reduce((sum, { rows }) => sum + rows.length, 0);
    const texts = new Map();
    let before = null; // which folds were open when the search began
    const textOf = (row) => {
      if (!texts.has(row)) texts.set(row, plain(all("bdi", row).map((part) => part.textContent).join("\n")));
      return texts.get(row);
    };
    const search = () => {
      const words = plain(input.value).split(/\s+/).filter(Boolean);
      if (words.length && !before) before = new Map(lists.map(({ fold }) => [fold, fold?.open]));
      let shown = 0;
      let found = 0;
      for (const { list, fold, rows } of lists) {
        let here = 0;
        for (const row of rows) {
          const fits = words.every((word) => textOf(row).includes(word));
          found += fits;
          row.hidden = !fits || (words.length > 0 && here >= MOST);
          here += !row.hidden;
        }
        (list.closest("table") ?? list).hidden = !here;
        if (fold) fold.hidden = !here;
        if (fold && words.length) fold.open = here > 0;
        shown += here;
      }
      if (!words.length && before) {
        for (const [fold, open] of before) if (fold) fold.open = open;
        before = null;
      }
      const more = found > shown ? `; ${count(found)} match` : "";
      status.textContent = words.length ? `${count(shown)} of ${count(total)} shown${more}` : "";
    };
    input.addEventListener("input", search);
    box.querySelector(".tools").hidden = false;
    if (input.value) search(); // what the browser kept over a reload
  }

  // The map: what a point stands for is told beside it, by pointer, arrow keys or cluster.
  function chart(figure) {
    const svg = figure.querySelector("svg");
    const card = figure.querySelector("[role=status]");
    const pick = figure.querySelector("select");
    const ring = figure.querySelector(".ring");
    const place = (dot, name) => Number(dot.getAttribute(name));
    const points = all("[data-cluster] circle", svg).map((dot, index) => {
      const [facts, id, ...text] = dot.textContent.split("\n");
      dot.replaceChildren(); // its title would stand over the map
      return { index, x: place(dot, "cx"), y: place(dot, "cy"), cluster: dot.parentNode.dataset.cluster, facts, id, text: text.join("\n") };
    });
    const name = (cluster) => pick.querySelector(`option[value="${cluster}"]`).textContent;
    const open = () => (pick.value ? points.filter((point) => point.cluster === pick.value) : points);
    let current = null;

    const tell = (...parts) => card.replaceChildren(...parts);
    const show = (point) => {
      if (point === current) return;
      current = point;
      ring.setAttribute("cx", point.x);
      ring.setAttribute("cy", point.y);
      ring.classList.add("on");
      const text = make("p", point.text, "text");
      text.dir = "auto";
      const head = make("p", "", "why");
      head.append(make("bdi", name(point.cluster)), ` · ${point.facts}`);
      tell(text, head, make("p", point.id, "id"));
    };
    const clear = () => {
      current = null;
      ring.classList.remove("on");
    };
    const choose = () => {
      clear();
      svg.classList.toggle("picked", pick.value !== "");
      for (const group of all("[data-cluster]", svg)) group.classList.toggle("on", group.dataset.cluster === pick.value);
      for (const button of all("[data-pick]")) button.ariaPressed = String(button.dataset.pick === pick.value);
      tell(make("p", pick.value ? pick.selectedOptions[0].title : card.dataset.hint));
    };
    const nearest = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let best = null;
      let least = 18 ** 2;
      for (const point of open()) {
        const far = (point.x - at.x) ** 2 + (point.y - at.y) ** 2;
        if (far <= least) [best, least] = [point, far];
      }
      return best;
    };
    const towards = ([right, down]) => {
      let best = null;
      let least = Infinity;
      for (const point of open()) {
        const [x, y] = [point.x - current.x, point.y - current.y];
        const turn = (point.index - current.index) * 1e-4; // of rows at one place
        const along = x || y ? x * right + y * down : turn * (right + down);
        const aside = Math.abs(x * down) + Math.abs(y * right);
        if (along > 0 && along + 3 * aside < least) [best, least] = [point, along + 3 * aside];
      }
      return best;
    };
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    svg.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        pick.value = "";
        choose();
      }
      if (!ways[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const next = current ? towards(ways[event.key]) : open()[0];
      if (next) show(next);
    });
    for (const kind of ["pointermove", "pointerdown"]) {
      svg.addEventListener(kind, (event) => {
        const found = nearest(event);
        if (found) show(found);
      });
    }
    for (const label of all("[data-names]")) {
      const button = make("button", "", "plain");
      button.type = "button";
      button.dataset.pick = label.dataset.names;
      button.append(...label.childNodes);
      button.addEventListener("click", () => {
        pick.value = pick.value === button.dataset.pick ? "" : button.dataset.pick;
        choose();
      });
      label.append(button);
    }
    pick.addEventListener("change", choose);
    svg.tabIndex = 0;
    figure.querySelector(".tools").hidden = false;
    choose();
  }

  all("[data-find]").forEach(finder);
  all("[data-map]").forEach(chart);
})();
