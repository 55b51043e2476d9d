// Signs events with Stripe's official SDK for Node.js.
// Reads JSON lines {"payload","secret","timestamp"} and answers each with the `Stripe-Signature` header's value.
import { createInterface } from 'node:readline';
import Stripe from 'stripe';

const stripe = new Stripe('sk_test_only_for_signing');
for await (const line of createInterface({ input: process.stdin })) {
  const { payload, secret, timestamp } = JSON.parse(line);
  console.log(stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp }));
}
