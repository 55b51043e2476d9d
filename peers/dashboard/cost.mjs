// What pages cost in headless Chromium, each with an empty cache.
//
// Reads {origin, pages: [{who, key, path}]} as JSON from stdin, prints a list of {path, requests, bytes, firstByte,
// painted}: times in milliseconds since the request was sent, bytes as they came over the line.
import { readFileSync } from "node:fs";
import { start } from "./chromium.mjs";

const { origin, pages } = JSON.parse(readFileSync(0, "utf8"));
const { browser, close } = await start();
const seen = [];
for (const { key, path } of pages) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  // A session without its page: what that loads would be in the cache.
  await context.request.get(`${origin}/my-dashboard?key=${key}`, { maxRedirects: 0 });
  const sizes = [];
  page.on("requestfinished", (request) => sizes.push(request.sizes()));
  await page.goto(`${origin}${path}`);
  await page.locator("main#main h1").waitFor();
  const timing = await page.evaluate(async () => {
    // Charts are in the page: they are painted with the first contents.
    while (performance.getEntriesByName("first-contentful-paint").length === 0) await new Promise(requestAnimationFrame);
    const [navigation] = performance.getEntriesByType("navigation");
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    return { firstByte: navigation.responseStart - navigation.requestStart, painted: paint.startTime - navigation.requestStart };
  });
  const each = await Promise.all(sizes);
  const bytes = each.reduce((sum, one) => sum + one.responseBodySize + one.responseHeadersSize, 0);
  seen.push({ path, requests: each.length, bytes, ...timing });
  await context.close();
}
await close();
console.log(JSON.stringify(seen));
