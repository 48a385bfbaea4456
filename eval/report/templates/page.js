"use strict";
(() => {
  const make = (tag, values) => Object.assign(document.createElement(tag), values);
  const onPress = (node, act) => {
    node.addEventListener("click", act);
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      act();
    });
  };

  // Tables: a button in every head sorts, a box filters. Without scripts the rows stand as they were written.
  const words = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => {
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1; // no value: last, whatever the order
    return typeof a === "number" ? a - b : words.compare(a, b);
  };
  const keyOf = (row, column, numeric) => {
    const cell = row.cells[column];
    if (!numeric) return cell.textContent;
    return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  };
  const sortBy = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    const numeric = heads[column].classList.contains("number");
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row, place) => ({ row, place, key: keyOf(row, column, numeric) }));
    const sign = down ? -1 : 1;
    keyed.sort((a, b) => {
      const order = compare(a.key, b.key);
      return (a.key === null || b.key === null ? order : sign * order) || a.place - b.place;
    });
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...keyed.map((one) => one.row));
  };
  const addFilter = (table) => {
    const rows = [...table.tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const box = make("input", { type: "search", placeholder: "class, image, number" });
    const told = make("output", { textContent: `${rows.length} rows` });
    box.addEventListener("input", () => {
      const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        row.hidden = !wanted.every((word) => texts[place].includes(word));
        shown += !row.hidden;
      });
      told.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    });
    const label = make("label", { className: "filter" });
    label.append("Show rows with", box, told);
    table.closest(".scroll").before(label);
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      // Not a <button>: browsers leave those out of the heads that they repeat on every printed page.
      const button = make("span", { tabIndex: 0, role: "button", textContent: head.textContent });
      onPress(button, () => sortBy(table, column));
      head.replaceChildren(button);
    });
    addFilter(table);
  });

  // Pictures: a click or Enter enlarges one, the arrow keys step through its neighbours.
  const dialog = make("dialog", { ariaLabel: "Enlarged picture" });
  const large = make("img", {});
  const caption = make("p", {});
  const close = make("button", { type: "button", textContent: "Close", autofocus: true });
  dialog.append(large, caption, close);
  document.body.append(dialog);
  let row = [];
  let at = 0;
  const show = (place) => {
    at = (place + row.length) % row.length;
    large.src = row[at].src;
    large.alt = caption.textContent = row[at].alt;
  };
  const open = (image) => {
    row = [...image.closest(".cells").querySelectorAll("img")];
    show(row.indexOf(image));
    dialog.showModal();
  };
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) show(at + step);
  });
  document.querySelectorAll(".cells img").forEach((image) => {
    Object.assign(image, { className: "zoom", tabIndex: 0, role: "button" });
    onPress(image, () => open(image));
  });
})();
