//! `hooks`: a thousand healthy webhook endpoints beside bad ones, and a worker that is killed in the middle.
//!
//! Every affiliate has fifty endpoints, so one reported lead is fifty deliveries. Leads come at a fixed
//! rate; a delivery's delay counts from the reply to its lead to the last byte of the delivery.

mod receiver;

use crate::api::{Api, text};
use crate::say;
use crate::stack::ground::Ground;
use crate::stack::{Options, Stack};
use anyhow::{Context, ensure};
use receiver::{Arrival, Receiver};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Endpoints an agent may have.
const PER_AGENT: usize = 50;
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// Nothing a run waits for takes longer.
const PATIENCE: Duration = Duration::from_mins(3);
/// F81: what healthy endpoints may wait while one tenant's fail.
const DELAY_P99_MAX: Duration = Duration::from_secs(5);

/// Settings of `hooks`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Healthy endpoints, fifty to an agent.
    #[arg(long, env = "AOS_HOOKS_ENDPOINTS", default_value_t = 1000)]
    endpoints: usize,
    /// Leads of each part; each is fifty deliveries to healthy endpoints.
    #[arg(long, env = "AOS_HOOKS_LEADS", default_value_t = 200)]
    leads: usize,
    /// Leads a second.
    #[arg(long, env = "AOS_HOOKS_RATE", default_value_t = 4.0)]
    rate: f64,
}

/// A promoter of the program, with a link of its own.
struct Promoter {
    api: Api,
    token: String,
}

/// Who plays.
struct Cast {
    advertiser: Api,
    healthy: Vec<Promoter>,
    /// Has one endpoint that drips and one that always fails.
    bad: Promoter,
    /// Has fifty endpoints that always fail.
    worse: Promoter,
}

/// What a part came to.
struct Part {
    deliveries: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
    bad: usize,
}

/// Runs; `true` when every figure is right.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    say("starting PostgreSQL, Redis, control plane and edge");
    let control = vec![("AOS_EGRESS_ALLOW", "127.0.0.0/8".to_owned())];
    let ground = Ground::prepare(&[]).await?;
    let mut stack = Stack::start(&ground, Options { control, ..Options::default() }).await?;
    let receiver = Receiver::start().await?;
    let cast = Cast::gather(&stack.api()?, &receiver, args.endpoints.div_ceil(PER_AGENT)).await?;
    say(&format!(
        "{} healthy endpoints, {} leads a part, {} a second",
        cast.healthy.len() * PER_AGENT,
        args.leads,
        args.rate
    ));
    let alone = cast.part(args, &receiver, None).await?;
    let beside = cast.part(args, &receiver, Some(&cast.bad)).await?;
    let flooded = cast.part(args, &receiver, Some(&cast.worse)).await?;
    say("| part | healthy deliveries | p50 ms | p99 ms | max ms | tries to bad endpoints |");
    say("|---|---|---|---|---|---|");
    for (name, part) in [
        ("healthy endpoints alone", &alone),
        ("beside one that drips and one that always fails", &beside),
        ("beside fifty that always fail (F81)", &flooded),
    ] {
        say(&format!(
            "| {name} | {} | {} | {} | {} | {} |",
            part.deliveries,
            part.p50.as_millis(),
            part.p99.as_millis(),
            part.max.as_millis(),
            part.bad
        ));
    }
    let killed = kill_in_the_middle(&mut stack, &cast, &receiver, args.leads).await?;
    let mut good = true;
    for (what, right) in [
        (
            "p99 beside bad endpoints is at most twice that without, or 1 s",
            beside.p99 <= (alone.p99 * 2).max(Duration::from_secs(1)),
        ),
        ("p99 beside ten thousand failing deliveries is at most 5 s", flooded.p99 <= DELAY_P99_MAX),
        ("after kill -9 every event was delivered, under one id", killed),
    ] {
        good &= right;
        say(&format!("{:>5}  {what}", if right { "ok" } else { "WRONG" }));
    }
    stack.stop()?;
    Ok(good)
}

impl Cast {
    async fn gather(api: &Api, receiver: &Receiver, agents: usize) -> anyhow::Result<Self> {
        let (advertiser, _) = api.sign_up("Hooks Advertiser").await?;
        // Every lead costs $0.30 once the included ones are used up.
        advertiser.call("POST", "/api/wallet/topup", Some(json!({"amount": 500}))).await?;
        let program = json!({"name": "Hooks", "commission_type": "fixed", "commission_value": 1, "approval_mode": "auto"});
        let program = text(&advertiser.call("POST", "/api/programs", Some(program)).await?, "id")?;
        let mut healthy = Vec::with_capacity(agents);
        for nth in 0..agents {
            let promoter = Promoter::join(api, &program, &format!("Healthy {nth}")).await?;
            for endpoint in 0..PER_AGENT {
                promoter.hook(&receiver.url(&format!("good/{nth}/{endpoint}"))).await?;
            }
            healthy.push(promoter);
        }
        let bad = Promoter::join(api, &program, "Bad").await?;
        bad.hook(&receiver.url("drip/0")).await?;
        bad.hook(&receiver.url("fail/0")).await?;
        let worse = Promoter::join(api, &program, "Worse").await?;
        for endpoint in 0..PER_AGENT {
            worse.hook(&receiver.url(&format!("fail/{}", endpoint + 1))).await?;
        }
        Ok(Self { advertiser, healthy, bad, worse })
    }

    /// Leads at the fixed rate, each with one for the neighbour, until all of them have been delivered.
    async fn part(
        &self,
        args: &Args,
        receiver: &Receiver,
        neighbour: Option<&Promoter>,
    ) -> anyhow::Result<Part> {
        receiver.clear();
        let every = Duration::from_secs_f64(1.0 / args.rate);
        let mut ticks = tokio::time::interval(every);
        let mut reported = HashMap::with_capacity(args.leads);
        for nth in 0..args.leads {
            ticks.tick().await;
            if let Some(neighbour) = neighbour {
                self.lead(neighbour).await?;
            }
            let id = self.lead(&self.healthy[nth % self.healthy.len()]).await?;
            reported.insert(id, Instant::now());
        }
        let wanted = args.leads * PER_AGENT;
        wait_for("the healthy deliveries", || receiver.good() >= wanted).await?;
        let mut delays = Vec::with_capacity(wanted);
        for arrival in receiver.arrivals("good") {
            let body: serde_json::Value = serde_json::from_slice(&arrival.body)?;
            let since =
                reported.get(&text(&body["data"], "id")?).context("a delivery of no lead of this part")?;
            delays.push(arrival.at.saturating_duration_since(*since));
        }
        delays.sort_unstable();
        let at = |percent: usize| delays[(delays.len() * percent / 100).min(delays.len() - 1)];
        let bad = receiver.arrivals("drip").len() + receiver.arrivals("fail").len();
        Ok(Part { deliveries: delays.len(), p50: at(50), p99: at(99), max: at(100), bad })
    }

    async fn lead(&self, promoter: &Promoter) -> anyhow::Result<String> {
        let body = json!({"tracking_token": promoter.token, "event_type": "lead"});
        text(&self.advertiser.call("POST", "/api/conversions/track", Some(body)).await?, "id")
    }
}

impl Promoter {
    async fn join(api: &Api, program: &str, name: &str) -> anyhow::Result<Self> {
        let (api, _) = api.sign_up(name).await?;
        api.call("POST", "/api/subscription/pro", Some(json!({}))).await?;
        let joined = api.call("POST", &format!("/api/network/join/{program}"), Some(json!({}))).await?;
        let links = format!("/api/partnerships/{}/links", text(&joined, "id")?);
        let link =
            api.call("POST", &links, Some(json!({"destination_url": "https://shop.example/"}))).await?;
        Ok(Self { token: text(&link, "token")?, api })
    }

    async fn hook(&self, url: &str) -> anyhow::Result<()> {
        let body = json!({"url": url, "events": ["conversion.created"]});
        self.api.call("POST", "/api/webhooks", Some(body)).await.map(drop)
    }
}

/// `kill -9` of the control plane, worker and all, when half of the deliveries have arrived; then everything
/// must arrive, some of it twice, each under one id with the same bytes.
async fn kill_in_the_middle(
    stack: &mut Stack,
    cast: &Cast,
    receiver: &Receiver,
    leads: usize,
) -> anyhow::Result<bool> {
    receiver.clear();
    let wanted = leads * PER_AGENT;
    let mut killed_at = None;
    for nth in 0..leads {
        cast.lead(&cast.healthy[nth % cast.healthy.len()]).await?;
        if killed_at.is_none() && receiver.good() >= wanted / 2 {
            killed_at = Some(kill(stack, receiver).await?);
        }
    }
    let at = match killed_at {
        Some(at) => at,
        None => {
            wait_for("half of the deliveries", || receiver.good() >= wanted / 2).await?;
            kill(stack, receiver).await?
        }
    };
    wait_for("every delivery", || distinct(&receiver.arrivals("good")).len() >= wanted).await?;
    // What was in flight is sent again when its lease ends: until then it stands as being sent.
    let database = stack.database().await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*)
               FROM webhook_deliveries AS delivery
               JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id
              WHERE delivery.finished_at IS NULL AND endpoint.url LIKE '%/good/%'",
        )
        .fetch_one(&database)
        .await?;
        if open == 0 {
            break;
        }
        ensure!(Instant::now() < deadline, "{open} deliveries are not finished");
        tokio::time::sleep(POLL_PAUSE * 10).await;
    }
    let arrivals = receiver.arrivals("good");
    let ids = distinct(&arrivals);
    let contents: HashSet<_> =
        arrivals.iter().map(|one| (&one.delivery, &one.event, &one.path, &one.body)).collect();
    let events: HashSet<_> = arrivals.iter().map(|one| &one.event).collect();
    say(&format!(
        "kill -9 after {at} of {wanted} deliveries: {} delivered ({} events), {} came twice, {} ids changed",
        ids.len(),
        events.len(),
        arrivals.len() - ids.len(),
        contents.len() - ids.len()
    ));
    Ok(ids.len() == wanted && contents.len() == ids.len() && events.len() == leads && at < wanted)
}

/// Kills the control plane and starts it again; gives how many deliveries had arrived.
async fn kill(stack: &mut Stack, receiver: &Receiver) -> anyhow::Result<usize> {
    let at = receiver.good();
    stack.control_plane.kill()?;
    stack.control_plane.start()?;
    stack.control_plane.ready().await?;
    Ok(at)
}

fn distinct(arrivals: &[Arrival]) -> HashSet<&str> {
    arrivals.iter().map(|one| one.delivery.as_str()).collect()
}

async fn wait_for(what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        ensure!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        tokio::time::sleep(POLL_PAUSE).await;
    }
    Ok(())
}
