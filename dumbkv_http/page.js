// Brings the page up to date in place. Without it the page is as true as when it was loaded.
const button = document.getElementById("live");
let running = true;
button.hidden = false;
button.addEventListener("click", () => {
  running = !running;
  button.textContent = running ? "Pause updates" : "Resume updates";
});
setInterval(async () => {
  const main = document.querySelector("main");
  if (!running || document.hidden || main.contains(document.activeElement)) return;
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const opened = [...main.querySelectorAll("details[open]")].map((each) => each.id);
    main.replaceWith(document.adoptNode(fresh.querySelector("main")));
    for (const id of opened) document.getElementById(id).open = true;
    document.title = fresh.title;
  } catch {
    document.title = "No answer from DumbKV";
    document.getElementById("verdict").textContent = "? No answer from the server";
    document.getElementById("verdict").className = "verdict";
  }
}, 10000);
