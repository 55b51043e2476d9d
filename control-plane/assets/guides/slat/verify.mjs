import { createPublicKey, verify } from "node:crypto";

export function verifySlat(token, merchantId, keys, now) {
  const raw = Buffer.from(token.slice(8), "base64url"), id = (prefix, at) => prefix + raw.toString("hex", at, at + 16);
  const key = createPublicKey({ key: keys.find((key) => key.kid === String(raw.readUInt16BE(0))), format: "jwk" });
  const signed = Buffer.concat([Buffer.from("slat_v1_"), raw.subarray(0, 94)]);
  if (!verify(null, signed, key, raw.subarray(94))) throw new Error("forged");
  if (token !== "slat_v1_" + raw.toString("base64url")) throw new Error("another spelling");
  if (merchantId !== id("merch_", 30)) throw new Error("another merchant's");
  const age = now - Number(raw.readBigInt64BE(2));
  if (!(age >= -60 && age <= raw.readUInt32BE(10))) throw new Error("outside its window");
  return { event_id: id("evt_", 14), publisher_id: id("pub_", 62), nonce: id("", 78) };
}
