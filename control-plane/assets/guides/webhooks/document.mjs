import { createHmac, timingSafeEqual } from "node:crypto";
function verifyAffiliateOSSignature(rawBody, secret, signatureHeader) {
const expected = createHmac("sha256", secret).update(rawBody).digest("hex");
return timingSafeEqual(
Buffer.from(expected, "utf8"),
Buffer.from(signatureHeader ?? "", "utf8")
);
}
