curl -H "Authorization: Bearer aff_agent_abc123" \
  https://api.syndicatelinks.co/v1/commissions
