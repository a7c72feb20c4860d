"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const templates = read("templates");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = {
    responsive: true,
    displaylogo: false,
    toImageButtonOptions: { format: "svg" },
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
  };
  const look = () => (dark.matches ? templates.dark : templates.light);

  // Plotly's own menus are drawings that no keyboard reaches; the page's are not.
  const addMenu = (place, plot, menu) => {
    const label = document.createElement("label");
    label.append(`${menu.name} `);
    const select = document.createElement("select");
    const text = (label) => new DOMParser().parseFromString(label, "text/html").documentElement.textContent;
    menu.buttons.forEach((button, i) => select.add(new Option(text(button.label), i)));
    select.addEventListener("change", () => window.Plotly.update(plot, ...menu.buttons[select.value].args));
    label.append(select);
    place.append(label);
  };

  // What is hovered over on the contours is marked on the surface beside them too, and the other way round.
  const link = (plot, { linked, logarithmic }) => {
    const move = (row, x, y, z) => {
      const at = (value) => [[value], [value]];
      window.Plotly.restyle(plot, { x: at(x), y: at(y) }, [row.flat, row.solid]);
      window.Plotly.restyle(plot, { z: [[z]] }, [row.solid]);
    };
    plot.on("plotly_hover", ({ points: [{ curveNumber, x, y, z, data }] }) => {
      const row = linked.find(({ hovered }) => hovered.includes(curveNumber));
      if (row) move(row, x, y, data.type === "contour" && logarithmic ? 10 ** z : z);
    });
  };

  for (const plot of document.querySelectorAll(".plot")) {
    const { data, layout } = figures[plot.dataset.figure];
    const menus = layout.updatemenus || [];
    delete layout.updatemenus;
    plot.style.minHeight = "";
    window.Plotly.newPlot(plot, data, { ...layout, template: look() }, config);
    const place = document.getElementById(`controls-${plot.dataset.figure}`);
    menus.forEach((menu) => addMenu(place, plot, menu));
    if (layout.meta?.linked) link(plot, layout.meta);
  }
  const paint = (template) => {
    for (const plot of document.querySelectorAll(".plot")) window.Plotly.relayout(plot, { template });
  };
  dark.addEventListener("change", () => paint(look()));
  window.addEventListener("beforeprint", () => {
    for (const table of document.querySelectorAll("details.table")) table.open = true;
    paint(templates.light);
  });
  window.addEventListener("afterprint", () => paint(look()));
})();
