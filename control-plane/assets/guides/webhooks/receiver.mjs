import { createServer } from "node:http";
import { Webhook } from "standardwebhooks"; // npm install standardwebhooks

const webhook = new Webhook(process.env.WEBHOOK_SECRET); // whsec_…, as POST /api/webhooks showed it
const done = new Set(); // in earnest: a table with a unique column

const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString();
  let event;
  try {
    event = webhook.verify(body, request.headers);
  } catch {
    return response.writeHead(400).end();
  }
  if (!done.has(event.id)) { // a delivery may come twice
    console.log(JSON.stringify({ id: event.id, type: event.type })); // your work goes here
    done.add(event.id);
  }
  response.writeHead(204).end();
});

server.listen(Number(process.env.PORT ?? 8000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
