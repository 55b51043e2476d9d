#!/usr/bin/env bash
# The tour: every example of the API's documentation, in its order, with real ids, against a running service.
# Each call's status and the members that the documentation prints are checked; the first difference ends it.
#
#   cargo xtask up                                   # in one terminal
#   control-plane/tests/tour.sh [API_ORIGIN [TRACKING_ORIGIN]]
#
# Needs bash and curl. It makes agents of its own and deletes them at the end. Calls that the service does not
# describe are named and left out.
set -euo pipefail

api=${1:-http://127.0.0.1:8081}
tracking=${2:-http://127.0.0.1:8080}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
calls=0
left_out=0

fail() {
    printf '\nFAILED: %s\nReply:\n' "$1" >&2
    cat "$work/head" "$work/body" >&2
    exit 1
}

# call STATUS CURL-ARGUMENTS…: shows the line, sends it, checks the status.
call() {
    local want=$1 got
    shift
    printf '$ curl'
    printf ' %q' "$@"
    printf '\n'
    got=$(curl -sS --noproxy '*' --max-time 20 -o "$work/body" -D "$work/head" -w '%{http_code}' "$@")
    calls=$((calls + 1))
    printf '  %s %s\n' "$got" "$(head -c 160 "$work/body")"
    [ "$got" = "$want" ] || fail "expected $want, got $got"
}

# has TEXT…: each is in the reply.
has() {
    local text
    for text; do
        grep -qF -- "$text" "$work/body" || fail "the reply lacks $text"
    done
}

# header TEXT: a header line of the reply has it.
header() {
    grep -qiF -- "$1" "$work/head" || fail "no header has $1"
}

# member NAME: the first text of this name in the reply.
member() {
    grep -o "\"$1\":\"[^\"]*\"" "$work/body" | head -n 1 | cut -d '"' -f 4
}

# described PATH: the service has this call; if not, it is named.
described() {
    grep -qF "\"$1\":" "$work/openapi" && return 0
    printf -- '- not described: %s\n' "$1"
    left_out=$((left_out + 1))
    return 1
}

as() { printf 'Authorization: Bearer %s' "$1"; }
json='Content-Type: application/json'
curl -sS --noproxy '*' -o "$work/openapi" "$api/openapi.json"

echo '## Quick start'
call 201 -X POST "$api/api/quickstart" -H "$json" -d '{"name":"MyAgent"}'
has '"handle":"my-agent' '"tier":"free"' '"api_key":"aos_live_' '"next_steps":' '"advertiser":[' '"affiliate":['
advertiser=$(member id)
advertiser_key=$(member api_key)
call 201 -X POST "$api/api/auth/signup" -H "$json" -d '{"name":"MyAgent"}'
has '"id":"' '"name":"MyAgent"' '"handle":"my-agent' '"tier":"free"' '"api_key":"aos_live_' '"created_at":"'
affiliate=$(member id)
affiliate_key=$(member api_key)

call 201 -X POST "$api/api/programs" -H "$(as "$advertiser_key")" -H "$json" \
    -d '{"name":"My SaaS","commission_type":"percentage","commission_value":20}'
has "\"advertiser_id\":\"$advertiser\"" '"commission_value":20' '"approval_mode":"manual"' '"status":"active"'
program=$(member id)
call 200 "$api/api/network/discover?niche=saas&sort=highest_commission"
has '"data":[' '"pagination":{' '"total_pages":'
call 201 -X POST "$api/api/network/join/$program" -H "$(as "$affiliate_key")" -H "$json" \
    -d '{"message":"I can promote this to AI founders"}'
has '"status":"pending"' '"message":"I can promote this to AI founders"'
partnership=$(member id)
call 200 -X PATCH "$api/api/partnerships/$partnership" -H "$(as "$advertiser_key")" -H "$json" -d '{"status":"approved"}'
has '"status":"approved"'
call 201 -X POST "$api/api/partnerships/$partnership/links" -H "$(as "$affiliate_key")" -H "$json" \
    -d '{"destination_url":"https://example.com/pricing"}'
has '"destination_url":"https://example.com/pricing"' '"tracking_url":"' '/api/track/'
token=$(member token)

# A link works on every edge within a second.
for _ in $(seq 50); do
    [ "$(curl -sS --noproxy '*' -o /dev/null -w '%{http_code}' -I "$tracking/api/track/$token")" = 302 ] && break
    sleep 0.1
done
call 302 "$tracking/api/track/$token"
header 'location: https://example.com/pricing'
header 'cache-control: private, no-store'
call 201 -X POST "$api/api/conversions/track" -H "$(as "$advertiser_key")" -H "$json" \
    -d "{\"tracking_token\":\"$token\",\"event_type\":\"sale\",\"revenue_amount\":99.00}"
has '"status":"pending"' '"revenue_amount":99' '"commission_amount":19.8' '"currency":"usd"'

echo '## Pricing and billing'
call 201 -X POST "$api/api/wallet/topup" -H "$(as "$advertiser_key")" -H "$json" -d '{"amount":20}'
has '"amount":20'

echo '## Agents'
call 200 "$api/api/agents/me" -H "$(as "$advertiser_key")"
has '"usage_summary":{' '"merchant_id":"merch_' '"publisher_id":"pub_'
call 200 "$api/api/agents?page=1&per_page=20"
has '"page":1' '"per_page":20'
call 200 -X PATCH "$api/api/agents/$affiliate" -H "$(as "$affiliate_key")" -H "$json" \
    -d '{"description":"AI shopping assistant","niche":"ecommerce","audience_type":"b2c"}'
has '"description":"AI shopping assistant"' '"niche":"ecommerce"' '"audience_type":"b2c"'
call 200 -X POST "$api/api/agents/$affiliate/rotate-key" -H "$(as "$affiliate_key")"
old_key=$affiliate_key
affiliate_key=$(member api_key)
call 401 "$api/api/agents/me" -H "$(as "$old_key")"
has '"error":"api_key_invalid"' '"message":"' '"fix":"' '"docs":"'
call 200 -X POST "$api/api/agents/$affiliate/regenerate-key" -H "$(as "$affiliate_key")"
affiliate_key=$(member api_key)
call 200 "$api/api/agents/$affiliate/earnings" -H "$(as "$affiliate_key")"
has '"totals":{' "\"program_id\":\"$program\"" '"pending":19.8'
call 200 "$api/api/agents/$affiliate/conversions?status=approved&event_type=sale" -H "$(as "$affiliate_key")"
has '"data":[]'
call 200 "$api/api/agents/$affiliate/partnerships" -H "$(as "$affiliate_key")"
has "\"id\":\"$partnership\""
if described '/api/agents/{id}/match-suggestions'; then
    call 200 "$api/api/agents/$affiliate/match-suggestions" -H "$(as "$affiliate_key")"
fi
if described '/api/match-suggestions'; then
    call 200 "$api/api/match-suggestions" -H "$(as "$affiliate_key")"
fi

echo '## Programs'
call 201 -X POST "$api/api/programs" -H "$(as "$advertiser_key")" -H "$json" \
    -d '{"name":"My SaaS","commission_type":"percentage","commission_value":25,"niche":"saas","approval_mode":"auto"}'
has '"commission_value":25' '"niche":"saas"' '"approval_mode":"auto"' '"auto_approve_affiliates":true'
second=$(member id)
call 200 "$api/api/programs?status=active&niche=saas"
has "\"id\":\"$second\""
call 200 "$api/api/programs/$program"
has "\"id\":\"$program\""
call 200 -X PATCH "$api/api/programs/$program" -H "$(as "$advertiser_key")" -H "$json" -d '{"commission_value":30}'
has '"commission_value":30'
call 200 -X POST "$api/api/programs/$program/pause" -H "$(as "$advertiser_key")"
has '"status":"paused"'
call 409 -X POST "$api/api/programs/$program/pause" -H "$(as "$advertiser_key")"
has '"error":"already_paused"'
call 200 -X POST "$api/api/programs/$program/activate" -H "$(as "$advertiser_key")"
has '"status":"active"'
call 409 -X POST "$api/api/programs/$program/activate" -H "$(as "$advertiser_key")"
has '"error":"already_active"'
call 200 "$api/api/programs/$program/affiliates" -H "$(as "$advertiser_key")"
has "\"affiliate_id\":\"$affiliate\""
call 200 "$api/api/programs/$program/conversions?status=pending" -H "$(as "$advertiser_key")"
has '"commission_amount":19.8' '"total":1'
conversion=$(member id)
call 200 "$api/api/programs/$program/payouts" -H "$(as "$advertiser_key")"
has '"pending":19.8'

echo '## Partnerships and tracking'
call 200 "$api/api/partnerships/$partnership/links" -H "$(as "$affiliate_key")"
has "\"token\":\"$token\""
call 201 -X POST "$api/api/conversions/track-click" -H "$(as "$advertiser_key")" -H "$json" \
    -d "{\"tracking_token\":\"$token\"}"
has '"event_type":"click"' '"click_id":"'
click=$(member click_id)
call 200 "$api/api/clicks/$click/explain" -H "$(as "$affiliate_key")"
has '"counted":true' '"reason":"class_counted"'

echo '## Conversions'
sale="{\"tracking_token\":\"$token\",\"event_type\":\"sale\",\"revenue_amount\":99.00,\"external_id\":\"order-456\"}"
call 201 -X POST "$api/api/conversions/track" -H "$(as "$advertiser_key")" -H "$json" -d "$sale"
has '"external_id":"order-456"' '"commission_amount":29.7'
call 409 -X POST "$api/api/conversions/track" -H "$(as "$advertiser_key")" -H "$json" -d "$sale"
has '"error":"duplicate_conversion"'
call 200 -X PATCH "$api/api/conversions/$conversion" -H "$(as "$advertiser_key")" -H "$json" -d '{"status":"approved"}'
has '"status":"approved"'
call 200 "$api/api/conversions/$conversion/explain" -H "$(as "$affiliate_key")"
has '"reason":"percentage_of_sale"' '"reason":"payable"'

echo '## Network'
call 200 "$api/api/network/discover?niche=saas&sort=highest_commission&per_page=10"
has '"per_page":10' "\"id\":\"$second\""
call 200 "$api/api/network/discover?niche=saas" -H "$(as "$affiliate_key")"
has '"joined":false' '"partnership_status":null'
call 200 "$api/api/network/niches"
has '"niche":"saas"'
call 200 "$api/api/network/stats"
has '"agents":' '"active_programs":'
if described '/api/network/recommendations/{agent_id}'; then
    call 200 "$api/api/network/recommendations/$affiliate" -H "$(as "$affiliate_key")"
fi
if described '/api/outreach/suggest'; then
    call 200 "$api/api/outreach/suggest?program_id=$program&limit=200&source=all" -H "$(as "$advertiser_key")"
fi
call 201 -X POST "$api/api/network/join/$second" -H "$(as "$affiliate_key")" -H "$json" \
    -d '{"message":"I can promote this to 50K developers"}'
has '"status":"approved"'
call 409 -X POST "$api/api/network/join/$second" -H "$(as "$affiliate_key")" -H "$json" -d '{}'
has '"error":"already_affiliated"'

echo '## Payouts'
call 200 -X POST "$api/api/payouts/process" -H "$(as "$advertiser_key")" -H "$json" \
    -d "{\"program_id\":\"$program\",\"dry_run\":true}"
has '"dry_run":true' '"preview_token":"' '"total":19.8'
call 201 -X POST "$api/api/payouts/process" -H "$(as "$advertiser_key")" -H "$json" \
    -d "{\"program_id\":\"$program\",\"dry_run\":false}"
has '"payouts":[{' '"amount":19.8' '"status":"paid"'
payout=$(grep -o '"payouts":\[{"id":"[^"]*"' "$work/body" | cut -d '"' -f 6)
call 200 "$api/api/payouts/$payout" -H "$(as "$advertiser_key")"
has "\"id\":\"$payout\"" '"status":"paid"'

echo '## Wallet and usage'
call 200 "$api/api/wallet" -H "$(as "$advertiser_key")"
has '"balance":0.2' '"currency":"usd"' '"auto_topup":{'
call 200 "$api/api/wallet/transactions?page=1&per_page=20&type=debit" -H "$(as "$advertiser_key")"
has '"data":[{'
call 200 "$api/api/usage" -H "$(as "$advertiser_key")"
has '"tier":"free"' '"period":"' '"limit":10000' '"conversions":{"used":2,"limit":100,"remaining":98}' \
    '"matching_requests":{"used":0,"limit":50,"remaining":50}' '"resets_at":"' '"upgrade_url":"POST /api/subscription/pro"'

echo '## Subscription and webhooks'
hook='{"url":"https://example.com/webhooks/affiliateos","events":["affiliate.joined","conversion.created","payout.processed"],"status":"active"}'
call 403 -X POST "$api/api/webhooks" -H "$(as "$advertiser_key")" -H "$json" -d "$hook"
has '"error":"feature_requires_pro"'
call 201 -X POST "$api/api/subscription/pro" -H "$(as "$advertiser_key")" -H "$json" -d '{}'
call 200 "$api/api/subscription" -H "$(as "$advertiser_key")"
has '"status":"active"'
call 201 -X POST "$api/api/webhooks" -H "$(as "$advertiser_key")" -H "$json" -d "$hook"
has '"url":"https://example.com/webhooks/affiliateos"' '"secret":"whsec_' '"status":"active"'
webhook=$(member id)
call 200 "$api/api/webhooks" -H "$(as "$advertiser_key")"
has "\"id\":\"$webhook\""
call 200 -X PATCH "$api/api/webhooks/$webhook" -H "$(as "$advertiser_key")" -H "$json" \
    -d '{"status":"paused","events":["conversion.approved","conversion.rejected"]}'
has '"status":"paused"' '"conversion.approved"'
call 200 -X POST "$api/api/webhooks/test" -H "$(as "$advertiser_key")" -H "$json" \
    -d "{\"webhook_id\":\"$webhook\",\"event_type\":\"conversion.approved\"}"
call 200 -X DELETE "$api/api/webhooks/$webhook" -H "$(as "$advertiser_key")"
call 200 -X DELETE "$api/api/subscription" -H "$(as "$advertiser_key")"
has '"cancel_at_period_end":true'

echo '## Dashboard'
if described '/api/agents/me/stats'; then
    call 200 "$api/api/agents/me/stats" -H "$(as "$advertiser_key")"
fi
if described '/api/agents/me/weekly-digest'; then
    call 200 "$api/api/agents/me/weekly-digest" -H "$(as "$advertiser_key")"
fi

echo '## Ends'
call 200 -X DELETE "$api/api/programs/$second" -H "$(as "$advertiser_key")"
has '"deleted":true'
call 200 -X DELETE "$api/api/programs/$program" -H "$(as "$advertiser_key")"
has '"deleted":false' '"archived":true'
call 200 "$api/api/network/discover?per_page=100"
grep -qF "\"id\":\"$program\"" "$work/body" && fail 'an archived program is in discovery'
call 200 -X DELETE "$api/api/agents/$affiliate" -H "$(as "$affiliate_key")"
call 401 "$api/api/agents/me" -H "$(as "$affiliate_key")"
call 200 -X DELETE "$api/api/agents/$advertiser" -H "$(as "$advertiser_key")"
call 401 "$api/api/agents/me"
has '"error":"api_key_missing"'

printf '\ntour: %s calls as documented, %s not described\n' "$calls" "$left_out"
