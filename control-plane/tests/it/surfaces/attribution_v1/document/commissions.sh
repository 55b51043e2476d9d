curl https://api.syndicatelinks.co/v1/commissions \
  -H "Authorization: Bearer aff_agent_abc123" \
  -G -d "status=pending" -d "limit=20"
