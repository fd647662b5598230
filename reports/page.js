// Comfort only: without it everything can be read, unfolded and followed.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const requirements = all("details.requirement");
  document.documentElement.classList.add("live");
  all(".tools").forEach((tools) => (tools.hidden = false));

  const show = (look) => {
    all("[data-filter]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.filter === look)));
    all(".cell").forEach((cell) => cell.classList.toggle("dim", look !== "" && cell.dataset.look !== look));
    requirements.forEach((one) => (one.hidden = look !== "" && one.dataset.look !== look));
    all(".chapter").forEach((chapter) => (chapter.hidden = !chapter.querySelector("details.requirement:not([hidden])")));
  };
  all("[data-filter]").forEach((button) => button.addEventListener("click", () => show(button.dataset.filter)));
  all("[data-unfold]").forEach((button) =>
    button.addEventListener("click", () => requirements.forEach((one) => (one.open = button.dataset.unfold === "open"))));

  // A link into a folded or filtered section unfolds it.
  const reveal = () => {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const section = place && place.closest("details.requirement");
    if (!section) return;
    if (section.hidden) show("");
    section.open = true;
    place.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = requirements.filter((one) => !one.open);
    folded.forEach((one) => (one.open = true));
  });
  addEventListener("afterprint", () => folded.forEach((one) => (one.open = false)));
})();
