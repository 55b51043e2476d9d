curl -X POST https://api.syndicatelinks.co/v1/verify \
  -H "Authorization: Bearer merch_key_xyz" \
  -H "Content-Type: application/json" \
  -d '{
    "order_id": "order_001",
    "amount": 9900,
    "currency": "usd",
    "slat_token": "slat_v1_..."
  }'
