// Turns the factors with the pointer or the arrow keys; without this script the first view stays.
const svg = document.getElementById("orbits"), lines = JSON.parse(document.getElementById("orbit-data").textContent);
const paths = svg.querySelectorAll("path.orbit"), labels = svg.querySelectorAll("text.orbit-label"), [size, half] = [svg.viewBox.baseVal.height, svg.viewBox.baseVal.width / 2];
const first = [0.6, 0.35], keys = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
let [turn, tilt] = first, from = null;
function draw() {
  const [ct, st, cp, sp] = [Math.cos(turn), Math.sin(turn), Math.cos(tilt), Math.sin(tilt)];
  const seen = (x, y, z) => [half + (ct * x + st * y) * size * 0.0042, size / 2 - (cp * z + sp * (ct * y - st * x)) * size * 0.0042];
  // The first lines are the axes.
  labels.forEach((label, i) => ["x", "y"].forEach((name, k) => label.setAttribute(name, seen(...lines[i].slice(-3))[k].toFixed(1))));
  lines.forEach((line, i) => {
    let d = "";
    for (let k = 0; k < line.length; k += 3) {
      const [x, y] = seen(line[k], line[k + 1], line[k + 2]);
      d += (k ? "L" : "M") + x.toFixed(1) + " " + y.toFixed(1);
    }
    paths[i].setAttribute("d", d);
  });
}
// Up stays up: the view ends straight above and straight below.
function look(to) { turn = to[0]; tilt = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, to[1])); draw(); }
svg.addEventListener("pointerdown", e => {
  if (!e.isPrimary || e.button) return;
  from = [e.clientX, e.clientY]; svg.setPointerCapture(e.pointerId);
});
// What is near follows the pointer.
svg.addEventListener("pointermove", e => {
  if (!from || !e.isPrimary) return;
  look([turn - (e.clientX - from[0]) * 0.01, tilt + (e.clientY - from[1]) * 0.01]); from = [e.clientX, e.clientY];
});
// A finger that scrolls the page is cancelled, not lifted.
for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, e => { if (e.isPrimary) from = null; });
svg.addEventListener("keydown", e => {
  if (e.altKey || e.ctrlKey || e.metaKey || !(e.key in keys || e.key === "Home")) return;
  e.preventDefault();
  look(e.key === "Home" ? first : [turn + keys[e.key][0], tilt + keys[e.key][1]]);
});
