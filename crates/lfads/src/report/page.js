// Turns the factors with the pointer; without this script the first view stays.
const svg = document.getElementById("orbits"), lines = JSON.parse(document.getElementById("orbit-data").textContent);
const paths = svg.querySelectorAll("path.orbit"), [size, half] = [svg.viewBox.baseVal.height, svg.viewBox.baseVal.width / 2];
let [turn, tilt] = [0.6, 0.35], from = null;
function draw() {
  const [ct, st, cp, sp] = [Math.cos(turn), Math.sin(turn), Math.cos(tilt), Math.sin(tilt)];
  lines.forEach((line, i) => {
    let d = "";
    for (let k = 0; k < line.length; k += 3) {
      const [x, y, z] = [line[k], line[k + 1], line[k + 2]], u = ct * x + st * y, w = ct * y - st * x;
      d += (k ? "L" : "M") + (half + u * size * 0.0042).toFixed(1) + " " + (size / 2 - (cp * z + sp * w) * size * 0.0042).toFixed(1);
    }
    paths[i].setAttribute("d", d);
  });
}
svg.addEventListener("pointerdown", e => { from = [e.clientX, e.clientY]; svg.setPointerCapture(e.pointerId); });
svg.addEventListener("pointermove", e => {
  if (!from) return;
  turn += (e.clientX - from[0]) * 0.01; tilt += (e.clientY - from[1]) * 0.01; from = [e.clientX, e.clientY]; draw();
});
svg.addEventListener("pointerup", () => { from = null; });
