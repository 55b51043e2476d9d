// The protocol's own facilitator on a development chain, with a token of its own.
//
//   node facilitator.mjs RPC_URL CHAIN_ID PORT
//
// Reads JSON lines {"do": …} and answers each with a JSON line:
//   start    {}           deploys the token and listens; gives token, its domain, and the accounts
//   mode     {"mode"}     `normal`; `lose` carries settlements out and drops the answers; `down` drops every call
//   balance  {"of"}       the token's balance, as text
//   calls    {}           how often each path was called
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { registerExactEvmScheme } from '@x402/evm/exact/facilitator';
import solc from 'solc';
import { createWalletClient, defineChain, http as rpc, publicActions } from 'viem';
import { mnemonicToAccount } from 'viem/accounts';

const [rpcUrl, chainId, port] = process.argv.slice(2);
// The development chain's well-known accounts.
const MNEMONIC = 'test test test test test test test test test test test junk';
const [operator, payer, receiver] = [0, 1, 2].map((addressIndex) => mnemonicToAccount(MNEMONIC, { addressIndex }));
const chain = defineChain({
  id: Number(chainId), name: 'tests', nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [rpcUrl] } },
});
const wallet = createWalletClient({ account: operator, chain, transport: rpc(), pollingInterval: 100 }).extend(publicActions);

const input = {
  language: 'Solidity',
  sources: { 'Token.sol': { content: readFileSync(new URL('./Token.sol', import.meta.url), 'utf8') } },
  settings: { evmVersion: 'paris', outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } } },
};
let token;
let mode = 'normal';
const calls = {};

async function deploy() {
  const compiled = JSON.parse(solc.compile(JSON.stringify(input)));
  const problem = compiled.errors?.find(({ severity }) => severity === 'error');
  if (problem) throw new Error(problem.formattedMessage);
  const { abi, evm } = compiled.contracts['Token.sol'].TestToken;
  const bytecode = `0x${evm.bytecode.object}`;
  const hash = await wallet.deployContract({ abi, bytecode, args: [payer.address, 1_000_000_000n] });
  const { contractAddress } = await wallet.waitForTransactionReceipt({ hash });
  return { abi, address: contractAddress };
}

function listen() {
  const facilitator = new x402Facilitator();
  const signer = toFacilitatorEvmSigner(Object.assign(wallet, { address: operator.address }));
  registerExactEvmScheme(facilitator, { signer, networks: `eip155:${chainId}` });
  const asText = (_, value) => (typeof value === 'bigint' ? value.toString() : value);
  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    calls[request.url] = (calls[request.url] ?? 0) + 1;
    if (mode === 'down') return request.socket.destroy();
    try {
      const { paymentPayload, paymentRequirements } = JSON.parse(Buffer.concat(parts).toString());
      const deed = request.url === '/verify' ? 'verify' : 'settle';
      const said = await facilitator[deed](paymentPayload, paymentRequirements);
      if (mode === 'lose' && deed === 'settle') return request.socket.destroy();
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(said, asText));
    } catch (error) {
      response.statusCode = 500;
      response.end(JSON.stringify({ error: error.message }));
    }
  });
  return new Promise((resolve) => server.listen(Number(port), '127.0.0.1', resolve));
}

const deeds = {
  async start() {
    token = await deploy();
    await listen();
    return { token: token.address, domain: 'Test USD/2', payer: payer.address, receiver: receiver.address };
  },
  async mode(request) {
    mode = request.mode;
    return {};
  },
  async balance({ of }) {
    const balance = await wallet.readContract({ ...token, functionName: 'balanceOf', args: [of] });
    return { balance: balance.toString() };
  },
  async calls() {
    return calls;
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  console.log(JSON.stringify(await deeds[request.do](request)));
}
process.exit(0);
