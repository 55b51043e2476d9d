// Looks at every page of the dashboard in headless Chromium, as a person would.
//
// Reads {origin, elsewhere, affiliate, advertiser, newcomer, more, views?, shots?} as JSON from stdin: keys of
// three agents, the same service under another site's name, and more pages of the advertiser's. Prints what it saw as JSON; the test judges.
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { start } from "./chromium.mjs";

const asked = JSON.parse(readFileSync(0, "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = process.env.DASHBOARD_SHOTS ?? asked.shots;
if (shots) mkdirSync(shots, { recursive: true });

const PAGES = {
  affiliate: ["", "/links", "/programs", "/earnings", "/live"].map((at) => `/my-dashboard/affiliate${at}`),
  advertiser: ["", "/programs", "/affiliates", "/conversions", "/payouts", "/wallet", "/live"].map((at) => `/my-dashboard/advertiser${at}`),
};
const everything = [...PAGES.affiliate, ...PAGES.advertiser];
const report = { pages: [], axe: [], overflow: [], scripts: [], blocked: [], keyIn: [], foreign: [] };

const { browser, close } = await start();

/** A context in which every request and every message is looked at. */
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("dialog", async (dialog) => { report.scripts.push(`${page.url()}: ${dialog.message()}`); await dialog.dismiss(); });
  page.on("pageerror", (error) => report.scripts.push(`${page.url()}: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") report.blocked.push(`${page.url()}: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(asked.origin) && !request.url().startsWith(asked.elsewhere)) report.foreign.push(request.url());
  });
  return { context, page };
}

/** Signs in by the address, and sees that the key is left nowhere. */
async function signIn({ context, page }, key) {
  const sent = [];
  const look = (request) => sent.push({ url: request.url(), referer: request.headers().referer ?? "" });
  page.on("request", look);
  await page.goto(`${asked.origin}/my-dashboard?key=${key}`);
  await page.goto(`${asked.origin}/my-dashboard/affiliate`);
  page.off("request", look);
  const first = sent.findIndex((request) => request.url.includes(key));
  sent.forEach((request, at) => {
    if (at !== first && request.url.includes(key)) report.keyIn.push(`request ${request.url}`);
    if (request.referer.includes(key)) report.keyIn.push(`referrer of ${request.url}`);
  });
  if ((await page.content()).includes(key)) report.keyIn.push("page");
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  if (kept.includes(key) || kept.includes("aos_session")) report.keyIn.push(`storage ${kept}`);
  // The history, entry by entry. What a browser remembers as typed into it is its own affair.
  const client = await context.newCDPSession(page);
  const { entries } = await client.send("Page.getNavigationHistory");
  for (const entry of entries) if (entry.url.includes(key)) report.keyIn.push(`history ${entry.url}`);
  for (const cookie of await context.cookies()) {
    if (cookie.value.includes(key)) report.keyIn.push("cookie");
    if (!cookie.httpOnly || cookie.sameSite !== "Strict") report.keyIn.push(`cookie ${cookie.name} is open`);
  }
}

async function visit(page, path, view) {
  const reply = await page.goto(`${asked.origin}${path}`);
  const name = `${view.role}${path.replace(/[?].*/, "_asked").replaceAll("/", "_")}_${view.scheme}_${view.width}`;
  report.pages.push({ name, status: reply.status() });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) report.overflow.push(`${name}: ${over} pixels`);
  // Parsed as a browser does, nothing of the payloads has become an element, an attribute or a link.
  const odd = await page.evaluate(() => [
    ...document.querySelectorAll("script:not([src^='/site/']), iframe, object, embed, base, style, [style], img, video, math, form[action^='javascript' i], a[href^='javascript' i], a[href^='data' i]"),
    ...[...document.querySelectorAll("*")].filter((element) => element.getAttributeNames().some((attribute) => attribute.startsWith("on"))),
  ].map((element) => element.outerHTML.slice(0, 200)));
  if (odd.length || (await page.evaluate(() => globalThis.hacked !== undefined))) report.scripts.push(`${name}: ${odd.join(" ")}`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  for (const broken of found.violations) {
    report.axe.push(`${name}: ${broken.id}: ${broken.nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`);
  }
  if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}

// The axe source is given to the page by the debugger, which its policy does not concern; loading it would.
const views = asked.views ?? [["light", 1440], ["dark", 360], ["dark", 1440], ["light", 360]];
for (const [scheme, width] of views) {
  const options = { colorScheme: scheme, viewport: { width, height: 900 } };
  for (const [role, paths] of [["affiliate", everything], ["advertiser", everything], ["newcomer", everything]]) {
    // Somebody new, and the other role's pages, are the empty states: once in each theme.
    const own = role === "newcomer" ? (width === 360 ? [] : paths) : PAGES[role];
    if (own.length === 0) continue;
    const opened = await open(options);
    await signIn(opened, asked[role]);
    for (const path of own) await visit(opened.page, path, { role, scheme, width });
    if (role === "advertiser") for (const path of asked.more) await visit(opened.page, path, { role, scheme, width });
    await opened.context.close();
  }
  const opened = await open(options);
  for (const path of ["/", "/my-dashboard/sign-in", "/docs/webhooks", "/docs/slat", "/docs/domains"]) await visit(opened.page, path, { role: "anyone", scheme, width });
  await opened.context.close();
}

// With the keyboard alone: sign in by the form, skip to the content, sign out.
{
  const { context, page } = await open({ viewport: { width: 1440, height: 900 } });
  await page.goto(`${asked.origin}/my-dashboard`);
  await page.locator("#key").focus();
  await page.keyboard.type(asked.affiliate);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${asked.origin}/my-dashboard`);
  await page.goto(`${asked.origin}/my-dashboard/affiliate`);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  report.skipped = await page.evaluate(() => document.activeElement.id);
  await page.goto(`${asked.origin}/my-dashboard/affiliate/links`);
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: asked.origin });
  await page.locator("button[data-copy]").first().click();
  report.copied = await page.evaluate(() => navigator.clipboard.readText());
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(`${asked.origin}/my-dashboard/sign-in`);
  await page.goBack();
  report.afterSignOut = page.url();
  await context.close();
}

// Many conversions with the keyboard: tick all of the page, say why, and see that the return key alone decides nothing.
{
  const { context, page } = await open({ viewport: { width: 1440, height: 900 } });
  await signIn({ context, page }, asked.advertiser);
  await page.goto(`${asked.origin}/my-dashboard/advertiser/conversions?status=pending`);
  const before = await page.locator("tbody tr").count();
  await page.getByLabel("All on this page").focus();
  await page.keyboard.press("Space");
  const ticked = await page.locator("input.tick:checked").count();
  await page.locator("#reason").focus();
  await page.keyboard.type("All were test orders");
  await page.keyboard.press("Enter");
  const still = await page.locator("tbody tr").count();
  await page.getByRole("button", { name: "Reject ticked" }).click();
  const said = await page.getByRole("status").first().textContent();
  report.bulk = { before, ticked, still, said, left: await page.locator("tbody tr").count() };
  await context.close();
}

// By a link on another site: the strict cookie comes by the second step.
{
  const { context, page } = await open({});
  await page.goto(`${asked.elsewhere}/llms.txt`);
  await page.evaluate((to) => { const a = document.createElement("a"); a.href = to; document.body.append(a); a.click(); }, `${asked.origin}/my-dashboard?key=${asked.affiliate}`);
  await page.locator("main#main h1").waitFor();
  report.fromElsewhere = { url: page.url(), title: await page.title() };
  await context.close();
}

// What a page costs.
{
  const { context, page } = await open({ viewport: { width: 1440, height: 900 } });
  await signIn({ context, page }, asked.advertiser);
  const requests = [];
  page.on("requestfinished", (request) => requests.push(request.sizes().then((sizes) => ({ url: request.url(), bytes: sizes.responseBodySize + sizes.responseHeadersSize }))));
  await page.goto(`${asked.origin}/my-dashboard/advertiser?days=90`);
  await page.locator(".plot svg").first().waitFor();
  const timing = await page.evaluate(() => {
    const [navigation] = performance.getEntriesByType("navigation");
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    return { firstByte: navigation.responseStart - navigation.requestStart, page: navigation.responseEnd, chart: paint?.startTime };
  });
  const sizes = await Promise.all(requests);
  report.cost = { ...timing, requests: sizes.length, bytes: sizes.reduce((sum, one) => sum + one.bytes, 0) };
  await context.close();
}

await close();
console.log(JSON.stringify(report));
