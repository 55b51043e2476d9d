// Verifies deliveries, given as JSON on standard input, with the document's own sample (its file is the
// argument) and with two public libraries; prints how many each accepted, as sent and with a changed body.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";
import { Webhook as Svix } from "svix";

// The sample exports nothing: it is a snippet, so its function is taken out of its text.
const sample = readFileSync(process.argv[2], "utf8").replace("function verify", "export function verify");
const url = "data:text/javascript;base64," + Buffer.from(sample).toString("base64");
const { verifyAffiliateOSSignature } = await import(url);

const accepts = {
  document: ({ secret, headers }, body) => verifyAffiliateOSSignature(body, secret, headers["x-affiliateos-signature"]),
  standardwebhooks: ({ secret, headers }, body) => Boolean(new Webhook(secret).verify(body, headers)),
  svix: ({ secret, headers }, body) => Boolean(new Svix(secret).verify(body, headers)),
};
const count = (accept, deliveries, change) =>
  deliveries.filter((delivery) => {
    try {
      return accept(delivery, change(delivery.body));
    } catch {
      return false;
    }
  }).length;

const deliveries = JSON.parse(readFileSync(0, "utf8"));
const said = Object.fromEntries(
  Object.entries(accepts).map(([name, accept]) => [
    name,
    [count(accept, deliveries, (body) => body), count(accept, deliveries, (body) => body.replace('"id"', '"iD"'))],
  ]),
);
process.stdout.write(JSON.stringify(said));
