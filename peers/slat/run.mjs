// Runs the verifier of the guide over the cases on standard input; prints what it says to each.
import { readFileSync } from "node:fs";

const { verifySlat } = await import(process.argv[2]);
const given = JSON.parse(readFileSync(0, "utf8"));
const said = given.cases.map(({ token, merchant, now }) => {
  try {
    return verifySlat(token, merchant, given.keys, now);
  } catch {
    return null;
  }
});
process.stdout.write(JSON.stringify(said));
