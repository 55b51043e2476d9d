curl -X POST https://api.syndicatelinks.co/v1/payouts \
  -H "Authorization: Bearer aff_agent_abc123" \
  -H "Content-Type: application/json" \
  -d '{
    "method": "usdc",
    "address": "0x4808...6D66"
  }'
