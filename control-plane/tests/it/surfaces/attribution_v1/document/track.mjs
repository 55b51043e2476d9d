const response = await fetch("https://api.syndicatelinks.co/v1/track", {
  method: "POST",
  headers: {
    "Authorization": "Bearer aff_agent_abc123",
    "Content-Type": "application/json"
  },
  body: JSON.stringify({
    event: "recommendation",
    merchant_id: "merch_xyz",
    product_id: "prod_456",
    metadata: {
      agent_runtime: "langchain",
      session_id: "sess_789"
    }
  })
});

const { slat_token, event_id } = await response.json();
