// The protocol's own client: asks, pays when it is told to, asks again.
//
// Reads JSON lines {"url","method","headers","body","version"} and answers each with a JSON line
// {"status","headers","body","sent"}: the last reply, and the payment header of each request. With version 1 the
// header of version 2 is hidden from the client, as a proxy of that time would, and it reads the body.
import { createInterface } from 'node:readline';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { registerExactEvmScheme } from '@x402/evm/exact/client';
import { mnemonicToAccount } from 'viem/accounts';

const signer = mnemonicToAccount('test test test test test test test test test test test junk', { addressIndex: 1 });
// The token is the tests' own: the client's guard against unknown tokens is off.
const client = x402Client.fromConfig({ schemes: [], spendControls: false });
registerExactEvmScheme(client, { signer, spendControls: false });

for await (const line of createInterface({ input: process.stdin })) {
  const { url, method, headers, body, version } = JSON.parse(line);
  const sent = [];
  const once = async (input, init) => {
    const request = new Request(input, init);
    sent.push(request.headers.get('payment-signature') ?? request.headers.get('x-payment'));
    const reply = await fetch(request);
    if (version !== 1) return reply;
    const seen = new Headers(reply.headers);
    seen.delete('payment-required');
    return new Response(await reply.text(), { status: reply.status, headers: seen });
  };
  let answer;
  try {
    const pay = wrapFetchWithPayment(once, client);
    const reply = await pay(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await reply.text();
    answer = { status: reply.status, headers: Object.fromEntries(reply.headers), body: text && JSON.parse(text) };
  } catch (error) {
    answer = { status: 0, headers: {}, body: error.message };
  }
  console.log(JSON.stringify({ ...answer, sent }));
}
