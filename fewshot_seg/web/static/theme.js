// Runs before the first paint: a dark page never flashes white. Its switch is in main.js.
(() => {
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
