"""Open pages in a headless browser without network and say what is wrong with them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--allow-file-access-from-files",  # the page below looks into pages of other files
    "--virtual-time-budget=20000",
    "--enable-logging=stderr",
    "--v=0",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)

# A window cannot be made narrower than 500 pixels, a frame can.
LOOKER = """<!DOCTYPE html>
<html><body><pre></pre><script>
async function look(address, width) {
  const frame = document.createElement("iframe");
  frame.style = `border: 0; height: 800px; width: ${width}px`;
  frame.src = address;
  await new Promise((done) => { frame.onload = done; document.body.append(frame); });
  const page = frame.contentDocument;
  for (const details of page.querySelectorAll("details")) details.open = true;
  const broken = [...page.images].filter((image) => !(image.complete && image.naturalWidth > 0));
  const faults = broken.map((image) => `image not shown: ${image.alt}`);
  const wide = page.documentElement.scrollWidth;
  if (frame.contentWindow.innerWidth !== width) faults.push(`frame of ${frame.contentWindow.innerWidth}`);
  if (wide > page.documentElement.clientWidth) faults.push(`page is ${wide} wide`);
  // text that neither the page nor a box that scrolls can show
  const view = frame.contentWindow;
  for (const element of page.body.querySelectorAll("*")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    let scrolls = false, hidden = false;
    for (let box = element; box && box !== page.documentElement; box = box.parentElement) {
      const overflow = view.getComputedStyle(box).overflowX;
      scrolls ||= overflow === "auto" || overflow === "scroll";
      hidden ||= overflow === "hidden" && box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 1;
    }
    const box = element.getBoundingClientRect();
    if (box.width && !scrolls && (hidden || box.right > page.documentElement.clientWidth + 1 || box.left < -1))
      faults.push(`text is cut: ${element.textContent.trim().slice(0, 40)}`);
  }
  // the browser keeps no record of requests for files, so the elements that ask for them count too
  const asked = [...page.querySelectorAll("[src], link[href]")].map((element) => element.src || element.href);
  const requests = frame.contentWindow.performance.getEntriesByType("resource").map((entry) => entry.name);
  const outside = new Set([...asked, ...requests].filter((name) => !name.startsWith("data:")));
  faults.push(...[...outside].map((name) => `requested: ${name}`));
  frame.remove();
  return [address, width, page.images.length, faults];
}
(async () => {
  const results = [];
  for (const [address, width] of PLACES) results.push(await look(address, width));
  document.querySelector("pre").textContent = JSON.stringify(results);
})();
</script></body></html>
"""


def look_at(pages: Sequence[Path], widths: Sequence[int], folder: Path) -> tuple[int, list[str]]:
    """Open every page at every width in pixels, with everything unfolded.

    Returns
    -------
    tuple
        How many images were looked at, and a line for each fault: an image that is not shown, a page wider than its
        window, a request, whether it failed or not, a text that is cut, a message on the console.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium")
    looker = folder / "looker.html"
    places = [(page.as_uri(), width) for page in pages for width in widths]
    looker.write_text(LOOKER.replace("PLACES", json.dumps(places)), encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", looker.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    found = re.search(r"<pre>(\[.*\])</pre>", done.stdout, re.DOTALL)
    assert found is not None, f"the browser did not finish: {done.stdout[-500:]} {done.stderr[-2000:]}"
    results = json.loads(html.unescape(found.group(1)))
    assert [(address, width) for address, width, _, _ in results] == places
    faults = [f"{Path(address).name} at {width}: {fault}" for address, width, _, part in results for fault in part]
    faults += [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return sum(n for _, _, n, _ in results), faults
