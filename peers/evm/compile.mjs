// Compiles TestUsdc.sol and prints its creation code as hexadecimal digits.
// The EVM version is an old one on purpose: every development chain runs it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const solc = createRequire(import.meta.url)("solc");
const file = "TestUsdc.sol";
const input = {
  language: "Solidity",
  sources: { [file]: { content: readFileSync(new URL(file, import.meta.url), "utf8") } },
  settings: {
    evmVersion: "paris",
    viaIR: true,
    optimizer: { enabled: true },
    outputSelection: { [file]: { TestUsdc: ["evm.bytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
const problems = (output.errors ?? []).filter(({ severity }) => severity === "error");
if (problems.length > 0) {
  console.error(problems.map(({ formattedMessage }) => formattedMessage).join("\n"));
  process.exit(1);
}
console.log(output.contracts[file].TestUsdc.evm.bytecode.object);
