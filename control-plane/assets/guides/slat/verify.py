from base64 import urlsafe_b64decode as decode, urlsafe_b64encode as encode
from struct import unpack
from nacl.signing import VerifyKey  # pip install pynacl

def verify_slat(token, merchant_id, keys, now):
    raw = decode(token.removeprefix("slat_v1_") + "=")
    kid, issued_at, valid_for, event, merchant, _, publisher, nonce = unpack(">HqI16s16s16s16s16s", raw[:94])
    key = next(key["x"] for key in keys if key["kid"] == str(kid))
    VerifyKey(decode(key + "=")).verify(b"slat_v1_" + raw[:94], raw[94:])
    if token != "slat_v1_" + encode(raw).decode().rstrip("="): raise ValueError("another spelling")
    if merchant_id != "merch_" + merchant.hex(): raise ValueError("another merchant's")
    if not -60 <= now - issued_at <= valid_for: raise ValueError("outside its window")
    return {"event_id": "evt_" + event.hex(), "publisher_id": "pub_" + publisher.hex(), "nonce": nonce.hex()}
