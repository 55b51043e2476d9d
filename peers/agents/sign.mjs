// Signs requests the way an AI agent does, by Cloudflare's package: Web Bot Auth, RFC 9421.
//
//   sign.mjs URL COUNT [SIGNATURE_AGENT]
//
// prints a JSON list of COUNT requests' headers, each with a nonce of its own, valid from now for five
// minutes. The key is the public test key of RFC 9421, appendix B.1.4.

import { signatureHeaders } from "web-bot-auth";
import { signerFromJWK } from "web-bot-auth/crypto";

const KEY = {
  kty: "OKP",
  crv: "Ed25519",
  kid: "test-key-ed25519",
  d: "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU",
  x: "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs",
};

const [url, count, agent] = process.argv.slice(2);
const signer = await signerFromJWK(KEY);
const requests = [];
for (let made = 0; made < Number(count); made += 1) {
  const headers = agent ? { "Signature-Agent": agent } : {};
  const created = new Date();
  const expires = new Date(created.getTime() + 300_000);
  const signed = await signatureHeaders(new Request(url, { headers }), signer, { created, expires });
  requests.push({ ...headers, ...signed });
}
console.log(JSON.stringify(requests));
