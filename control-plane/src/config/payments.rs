//! Settings of payments: what is read of them and what is shown.

use super::{Config, Problems, Settings, origin};
use crate::features::payouts::address::Address;
use crate::{stripe, x402};
use url::Url;

impl Config {
    pub(super) fn describe_x402(&self) -> String {
        let Some(terms) = &self.x402 else { return "AOS_X402_FACILITATOR_URL=".to_owned() };
        let token = if terms.facilitator_token.is_some() { "(set)" } else { "" };
        [
            format!("AOS_X402_FACILITATOR_URL={}", terms.facilitator),
            format!("AOS_X402_FACILITATOR_TOKEN={token}"),
            format!("AOS_X402_PAY_TO={}", terms.pay_to),
            "AOS_X402_RPC_URL=(set)".to_owned(),
            format!("AOS_X402_CHAIN_ID={}", terms.chain_id),
            format!("AOS_X402_ASSET={}", terms.asset),
            format!("AOS_X402_ASSET_DOMAIN={}/{}", terms.asset_domain.0, terms.asset_domain.1),
        ]
        .join("\n")
    }

    pub(super) fn describe_stripe(&self) -> String {
        let Some(account) = &self.stripe else { return "AOS_STRIPE_SECRET_KEY=".to_owned() };
        [
            format!("AOS_STRIPE_SECRET_KEY=(set, {})", if account.is_live() { "live" } else { "test" }),
            format!("AOS_STRIPE_WEBHOOK_SECRET=(set, {})", account.webhook_secrets.len()),
            format!("AOS_STRIPE_PRO_PRICE={}", account.pro_price),
            format!("AOS_STRIPE_TOPUP_PRICE={}", account.topup_price.as_deref().unwrap_or_default()),
            format!("AOS_STRIPE_API_BASE={}", account.api_base),
        ]
        .join("\n")
    }
}

impl Problems {
    /// The account at Stripe: all of its settings, or none.
    pub(super) fn stripe(&mut self, settings: &Settings) -> Option<stripe::Account> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let Some(secret_key) = given(&settings.stripe_secret_key) else {
            for (name, value) in [
                ("AOS_STRIPE_WEBHOOK_SECRET", &settings.stripe_webhook_secret),
                ("AOS_STRIPE_PRO_PRICE", &settings.stripe_pro_price),
                ("AOS_STRIPE_TOPUP_PRICE", &settings.stripe_topup_price),
            ] {
                if given(value).is_some() {
                    self.0.push(format!("{name}: set without AOS_STRIPE_SECRET_KEY"));
                }
            }
            return None;
        };
        if !secret_key.starts_with("sk_") && !secret_key.starts_with("rk_") {
            self.0.push("AOS_STRIPE_SECRET_KEY: not a secret key, which begins with sk_ or rk_".to_owned());
        }
        let secrets = self.required("AOS_STRIPE_WEBHOOK_SECRET", settings.stripe_webhook_secret.as_ref())?;
        let pro_price = self.required("AOS_STRIPE_PRO_PRICE", settings.stripe_pro_price.as_ref())?;
        let api_base = self.take("AOS_STRIPE_API_BASE", origin(&settings.stripe_api_base))?;
        let secrets = secrets.split(',').map(str::trim).filter(|secret| !secret.is_empty());
        Some(stripe::Account {
            secret_key: secret_key.into(),
            webhook_secrets: secrets.map(|secret| secret.to_owned().into()).collect(),
            pro_price,
            topup_price: given(&settings.stripe_topup_price),
            api_base,
        })
    }

    /// What is taken over x402: facilitator, address and node, or none of them.
    pub(super) fn x402(&mut self, settings: &Settings) -> Option<x402::Terms> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let asked = [&settings.x402_facilitator_url, &settings.x402_pay_to, &settings.x402_rpc_url];
        if asked.into_iter().all(|value| given(value).is_none()) {
            return None;
        }
        let facilitator = self.required("AOS_X402_FACILITATOR_URL", settings.x402_facilitator_url.as_ref());
        let facilitator = facilitator.and_then(|text| self.take("AOS_X402_FACILITATOR_URL", web(&text)));
        let pay_to = self.required("AOS_X402_PAY_TO", settings.x402_pay_to.as_ref());
        let pay_to = pay_to.and_then(|text| self.take("AOS_X402_PAY_TO", address(&text)));
        let rpc_url = self.required("AOS_X402_RPC_URL", settings.x402_rpc_url.as_ref());
        let rpc_url = rpc_url.and_then(|text| self.take("AOS_X402_RPC_URL", web(&text)));
        let known = x402::terms::known_usdc(settings.x402_chain_id);
        let asset = given(&settings.x402_asset).or_else(|| known.map(|(asset, _)| asset.to_owned()));
        let asset = self.required("AOS_X402_ASSET", asset.as_ref());
        let asset = asset.and_then(|text| self.take("AOS_X402_ASSET", address(&text)));
        let domain =
            given(&settings.x402_asset_domain).or_else(|| known.map(|(_, name)| format!("{name}/2")));
        let domain = self.required("AOS_X402_ASSET_DOMAIN", domain.as_ref())?;
        let domain = domain.rsplit_once('/').map(|(name, version)| (name.to_owned(), version.to_owned()));
        let domain =
            self.take("AOS_X402_ASSET_DOMAIN", domain.ok_or("a name and a version, as `USD Coin/2`"));
        Some(x402::Terms {
            facilitator: facilitator?,
            facilitator_token: given(&settings.x402_facilitator_token).map(Into::into),
            rpc_url: rpc_url?.into(),
            chain_id: settings.x402_chain_id,
            asset: asset?,
            asset_domain: domain?,
            pay_to: pay_to?,
        })
    }
}

fn web(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(text.trim_end_matches('/').to_owned()),
        Ok(_) => Err("not an http(s) address".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn address(text: &str) -> Result<String, String> {
    Address::parse("it", text).map(|address| address.as_str().to_owned()).map_err(|error| error.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct OnlySettings {
        #[command(flatten)]
        settings: Settings,
    }

    fn with(flags: &[&str]) -> Result<Config, Vec<String>> {
        let secret = format!("--secret={}", "ab".repeat(32));
        let base = ["control-plane", "--database-url=postgres://x/y", "--redis-url=redis://x/", &secret];
        Config::from_settings(&OnlySettings::parse_from(base.iter().chain(flags)).settings)
    }

    #[test]
    fn stripe_is_set_as_a_whole_and_its_secrets_are_not_shown() {
        assert!(with(&[]).unwrap().stripe.is_none());
        let problems = with(&["--stripe-pro-price=price_1"]).unwrap_err();
        assert_eq!(problems, ["AOS_STRIPE_PRO_PRICE: set without AOS_STRIPE_SECRET_KEY"]);
        let problems = with(&["--stripe-secret-key=pk_test_1"]).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        let whole = [
            "--stripe-secret-key=sk_test_abc",
            "--stripe-webhook-secret=whsec_a, whsec_b",
            "--stripe-pro-price=price_1",
        ];
        let config = with(&whole).unwrap();
        let shown = format!("{}\n{config:?}", config.describe());
        assert!(!shown.contains("sk_test_abc") && !shown.contains("whsec_"), "{shown}");
        assert_eq!(config.stripe.unwrap().webhook_secrets.len(), 2);
    }

    #[test]
    fn x402_is_set_as_a_whole_and_knows_the_usdc_of_its_chain() {
        let pay_to = "--x402-pay-to=0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
        let problems = with(&[pay_to]).unwrap_err();
        assert_eq!(problems, ["AOS_X402_FACILITATOR_URL: required", "AOS_X402_RPC_URL: required"]);
        let whole =
            [pay_to, "--x402-facilitator-url=https://f.example/", "--x402-rpc-url=https://n.example/key"];
        let config = with(&whole).unwrap();
        assert!(!config.describe().contains("n.example"), "{}", config.describe());
        let terms = config.x402.unwrap();
        assert_eq!(
            (terms.facilitator.as_str(), terms.asset_domain.0.as_str()),
            ("https://f.example", "USD Coin")
        );
        let elsewhere = with(&[whole[0], whole[1], whole[2], "--x402-chain-id=1"]).unwrap_err();
        assert_eq!(elsewhere, ["AOS_X402_ASSET: required", "AOS_X402_ASSET_DOMAIN: required"]);
        let mistyped = pay_to.replace("3C44", "3c44");
        assert_eq!(with(&[&mistyped, whole[1], whole[2]]).unwrap_err().len(), 1);
    }
}
