// The quick start through the generated client: both sign up, a program, a link, a click through the edge,
// a sale, what it earned. Prints one JSON line; any reply that is not what the types say ends it.
import { client } from "./generated/client.gen.js";
import {
  createLink, createProgram, decideConversion, discover, getEarnings, getUsage, joinProgram, quickstart, trackConversion,
} from "./generated/sdk.gen.js";

declare const process: { env: Record<string, string | undefined> };

client.setConfig({ baseUrl: process.env["AOS_ORIGIN"] ?? "", throwOnError: true });

const host = "shop.example";
const advertiser = (await quickstart({ body: { name: "TypeScript advertiser" }, throwOnError: true })).data;
const affiliate = (await quickstart({ body: { name: "TypeScript affiliate" }, throwOnError: true })).data;
const owner = { auth: advertiser.api_key, throwOnError: true } as const;
const promoter = { auth: affiliate.api_key, throwOnError: true } as const;

const program = (await createProgram({
  ...owner,
  body: { name: "TypeScript SaaS", url: `https://${host}/`, commission_type: "percentage", commission_value: 20, approval_mode: "auto", niche: "saas" },
})).data;
const found = (await discover({ ...promoter, query: { niche: "saas", sort: "newest" } })).data;
if (!found.data.some((one) => one.id === program.id)) throw new Error("the program is not discovered");
const partnership = (await joinProgram({ ...promoter, path: { program_id: program.id }, body: { message: "I can promote this" } })).data;
const link = (await createLink({ ...promoter, path: { id: partnership.id }, body: { destination_url: `https://${host}/pricing` } })).data;

await until(async () => {
  const click = await fetch(link.tracking_url, { redirect: "manual", headers: { "user-agent": "Mozilla/5.0 (X11; Linux x86_64)" } });
  return click.status === 302 && click.headers.get("location") === `https://${host}/pricing`;
});
await until(async () => (await getUsage(owner)).data.usage.clicks.used === 1);

const sale = (await trackConversion({
  ...owner,
  headers: { "Idempotency-Key": "typescript-order-1" },
  body: { tracking_token: link.token, event_type: "sale", revenue_amount: 99.5, external_id: "order-1" },
})).data;
if (!("commission_amount" in sale)) throw new Error("a sale is answered with a conversion");
await decideConversion({ ...owner, path: { id: sale.id }, body: { status: "approved" } });
const earnings = (await getEarnings({ ...promoter, path: { id: affiliate.id } })).data;
console.log(JSON.stringify({ commission: sale.commission_amount, approved: earnings.totals.approved, conversions: earnings.totals.conversions }));

/** Asks again until it holds, at most 20 seconds. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error("it did not come about in 20 seconds");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
