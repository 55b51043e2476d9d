// The Chromium of the packages, unpacked into a folder of this run's own with the few libraries it needs, so
// that it depends on nothing of the machine but the C library and is never half unpacked by another run.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** Starts it. `close` ends it and removes the folder. */
export async function start() {
  const folder = mkdtempSync(join(tmpdir(), "aos-chromium-"));
  process.env.TMPDIR = folder;
  // What tells the package to unpack the libraries, too.
  process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs24.x";
  const { default: packed } = await import("@sparticuz/chromium");
  const executablePath = await packed.executablePath();
  // The package looks for its fonts in /tmp, wherever it has put them; without a font Chromium gives up.
  const fonts = join(folder, "fonts", "fonts.conf");
  writeFileSync(fonts, readFileSync(fonts, "utf8").replaceAll("/tmp/", `${folder}/`));
  const browser = await chromium.launch({
    executablePath,
    // Nothing else than the tests' own pages is ever opened, and tests may run as root.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--headless=shell"],
  });
  const close = async () => {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { browser, close };
}
