curl -X POST https://api.syndicatelinks.co/v1/track \
  -H "Authorization: Bearer aff_agent_abc123" \
  -H "Content-Type: application/json" \
  -d '{
    "event": "recommendation",
    "merchant_id": "merch_xyz",
    "product_id": "prod_456",
    "metadata": {
      "agent_runtime": "langchain",
      "session_id": "sess_789",
      "recommendation_context": "user asked for project management tools"
    }
  }'
