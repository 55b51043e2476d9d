"""A customer of localstripe, driven with Stripe's official SDK for Python.

Reads JSON lines {"do": …} and answers each with a JSON line:
  listen  {"url","secret"}     where events go to
  start   {"subscription_id"}  a customer with a good card subscribes to a $99 plan, as Checkout would have it
  renew   {}                   a further invoice is made and paid
  fail    {}                   a further invoice is made; the bank asks the card's owner, who does not confirm it
  repay   {}                   the card is replaced, and the open invoice is paid
  show    {}                   the subscription as the server has it
  delete  {}                   the subscription ends
"""

import json
import sys
import urllib.parse
import urllib.request

import stripe

base = sys.argv[1]
api = stripe.StripeClient("sk_test_12345", base_addresses={"api": base}).v1
known = {}


def use_card(number):
    card = {"number": number, "exp_month": 12, "exp_year": 2039, "cvc": "123"}
    method = api.payment_methods.create({"type": "card", "card": card})
    api.payment_methods.attach(method.id, {"customer": known["customer"]})
    api.customers.update(known["customer"], {"invoice_settings": {"default_payment_method": method.id}})


def invoice():
    made = api.invoices.create({"customer": known["customer"], "subscription": known["subscription"]})
    known["invoice"] = made.id
    try:
        api.invoices.pay(made.id)
    except stripe.StripeError as refused:
        return str(refused)
    return api.invoices.retrieve(made.id).status


def listen(request):
    form = urllib.parse.urlencode({"url": request["url"], "secret": request["secret"]}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{base}/_config/webhooks/tests", data=form, method="POST"))
    return {}


def start(request):
    known["customer"] = api.customers.create({"email": "subscriber@example.com"}).id
    use_card("4242424242424242")
    product = api.products.create({"name": "Infrastructure Pro", "type": "service"})
    plan = api.plans.create({"product": product.id, "amount": 9900, "currency": "usd", "interval": "month"})
    made = api.subscriptions.create(
        {
            "customer": known["customer"],
            "items": [{"plan": plan.id}],
            "metadata": {"subscription_id": request["subscription_id"]},
        }
    )
    known["subscription"] = made.id
    return {"id": made.id, "status": made.status}


def renew(_):
    return {"invoice": invoice()}


def fail(_):
    use_card("4000002500003155")
    invoice()
    payment = api.payment_intents.retrieve(api.invoices.retrieve(known["invoice"]).payment_intent)
    # What the bank's page would say; the SDK has no call for that.
    form = urllib.parse.urlencode({"client_secret": payment.client_secret, "success": "false"}).encode()
    url = f"{base}/v1/payment_intents/{payment.id}/_authenticate"
    headers = {"authorization": "Bearer sk_test_12345"}
    urllib.request.urlopen(urllib.request.Request(url, data=form, method="POST", headers=headers))
    return {"invoice": api.invoices.retrieve(known["invoice"]).status}


def repay(_):
    use_card("4242424242424242")
    api.invoices.pay(known["invoice"])
    return {"invoice": api.invoices.retrieve(known["invoice"]).status}


def show(_):
    found = api.subscriptions.retrieve(known["subscription"])
    return {"status": found.status, "cancel_at_period_end": found.cancel_at_period_end}


def delete(_):
    return {"status": api.subscriptions.cancel(known["subscription"]).status}


DEEDS = {deed.__name__: deed for deed in (listen, start, renew, fail, repay, show, delete)}
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(DEEDS[request["do"]](request)), flush=True)
