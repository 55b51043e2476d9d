import requests

response = requests.post(
    "https://api.syndicatelinks.co/v1/track",
    headers={"Authorization": "Bearer aff_agent_abc123"},
    json={
        "event": "recommendation",
        "merchant_id": "merch_xyz",
        "product_id": "prod_456",
        "metadata": {
            "agent_runtime": "langchain",
            "session_id": "sess_789"
        }
    }
)

result = response.json()
slat_token = result["slat_token"]
event_id = result["event_id"]
