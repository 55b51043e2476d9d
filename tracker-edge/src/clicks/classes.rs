//! What made a click, told by its user agent.
//!
//! The names come from the `crawler-user-agents` list (`data/`, MIT licence), each with tags; the tables
//! below add what the list lacks and overrule where it would take a person for a machine. A user agent
//! nobody knows is a person: calling a person a machine costs an affiliate money, the other way round
//! costs an advertiser a fraction of a cent.
//!
//! Classifying takes microseconds, so every worker remembers what it has classified in [`Known`]: the
//! hot path is one look into a small table.

use regex_filtered::{Builder, Regexes};
use shared::ClickClass;
use std::sync::LazyLock;

/// The list, as published. Replace the file to update it; the tests tell what changed for us.
const LIST: &str = include_str!("../../data/crawler-user-agents.json");

/// Patterns of the list that also match people, or nothing certain.
const NOT_MACHINES: &[&str] = &[
    "MetaIAB Facebook", // Meta's in-app browser
    "Notion\\/",        // the desktop app
    "Tumblr\\/",        // the app's own browser
    "Goodreads",        // likewise
    "Viber",            // likewise
    "Code\\/1\\.",      // an editor's built-in browser
    "Fluid",            // a site-specific browser
    "Overcast\\/",      // a podcast player's links
    "PocketCasts\\/",
    "mail\\.ru", // also a browser's name
    "Salesforce\\.com",
    "RED\\/", // too short to mean anything
    "linko",
    "Determ",
    "Scope3",
];

/// Collectors of bulk data sets: nobody is behind a single fetch of theirs.
const BULK: &[&str] = &[
    "CCBot",
    "Bytespider",
    "meta-externalagent\\/",
    "TikTokSpider",
    "SBIntuitionsBot\\/",
    "cohere-training-data-crawler",
    "imageSpider",
    "img2dataset",
    "laion-huggingface-processor",
    "FacebookBot",
    "AI2Bot",
    "Spawning-AI",
    "semantic-visions",
    "Spider[\\s\\S]*spider\\.com",
];

/// Patterns of our own, before the list's.
const OURS: &[(&str, ClickClass)] = &[
    // AI agents that browse for someone, and agent frameworks.
    (
        r"(?i)\b(claude-code|claude-cli|chatgpt-agent|openai-operator|openai-python|openai/|anthropic/|browser-use|browserbase|langchain|llamaindex|crewai|autogpt|autogen|mcp-client|modelcontextprotocol|affiliateos-mcp)",
        ClickClass::Agent,
    ),
    (
        r"Google-Agent|GoogleAgent-Mariner|Manus-User|AgentCore-Browser|AmazonBuyForMe|Anchor Browser|Google-Gemini-CLI|opencode-smartfetch|TwinAgent|Devin/|Gemini-Deep-Research|meta-externalfetcher",
        ClickClass::Agent,
    ),
    // HTTP libraries and command lines.
    (
        r"^(node|undici|Deno/|Bun/|reqwest/|hyper/|ureq/|Java/|java-http-client|Java-http-client|Dart/|Ruby|Faraday|RestSharp|GuzzleHttp|Guzzle|http\.rb|HTTP_Request2|Symfony|PostmanRuntime|insomnia|Insomnia|bruno-runtime|libcurl|xh/|aria2/|lua-resty-http|LuaSocket|Erlang|hackney|Mint/|Req/|Ktor|ktor-client|Dalvik/|got[ /(]|ky/|superagent|needle/|req/|python-httpx|Python/|Wget|wrk/|oha/|hey/|k6/|vegeta|Vegeta|ApacheBench|JMeter|Apache-HttpAsyncClient|AutoHotkey)",
        ClickClass::Tool,
    ),
    (r"WindowsPowerShell/|PowerShell/[0-9]|CFNetwork/[0-9.]+ Darwin/", ClickClass::Tool),
    (r"(?i)^(nuclei|gobuster|feroxbuster|ffuf|wfuzz|whatweb|httpx - open-source)", ClickClass::Scanner),
    (
        r"(?i)(projectdiscovery|wpscan|qualys|tenable|rapid7|shodan|censys|leakix|palo ?alto)",
        ClickClass::Scanner,
    ),
    // Whatever calls itself a machine in the customary way.
    (r"(?i)\(compatible; [a-z0-9 _.-]*(bot|crawler|spider)\b", ClickClass::Crawler),
    (r"(?i)(^|[a-z(;,/ -])(bot|crawler|spider)/[0-9]", ClickClass::Crawler),
    (r"\+https?://", ClickClass::Crawler),
];

/// In which order classes win when several patterns match.
const fn rank(class: ClickClass) -> u8 {
    match class {
        ClickClass::Agent | ClickClass::AgentVerified => 5,
        ClickClass::Preview => 4,
        ClickClass::Scanner => 3,
        ClickClass::Tool => 1,
        ClickClass::Crawler => 2,
        _ => 0,
    }
}

/// One line of the list, as far as it is used.
#[derive(serde::Deserialize)]
struct Listed {
    pattern: String,
    #[serde(default)]
    tags: Vec<String>,
}

/// The patterns, compiled, and the class of each.
struct Patterns {
    regexes: Regexes,
    classes: Vec<ClickClass>,
}

/// Compiled once per process, on the first use.
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| compile(LIST).expect("the list in data/ is tested"));

/// Compiles the patterns now, so that the first click does not wait for it.
pub(crate) fn prepare() {
    LazyLock::force(&PATTERNS);
}

/// The class of a user agent.
pub(crate) fn classify(user_agent: &[u8]) -> ClickClass {
    // Browsers always send one: what does not is a script.
    if user_agent.is_empty() {
        return ClickClass::Tool;
    }
    let text = String::from_utf8_lossy(user_agent);
    let matches = PATTERNS.regexes.matching(&text).map(|(index, _)| index);
    let classes = matches.filter_map(|index| PATTERNS.classes.get(index).copied());
    classes.max_by_key(|class| rank(*class)).unwrap_or(ClickClass::Human)
}

fn compile(list: &str) -> Result<Patterns, String> {
    let listed: Vec<Listed> = serde_json::from_str(list).map_err(|error| error.to_string())?;
    let mut builder = Builder::new();
    let mut classes = Vec::new();
    let ours = OURS.iter().map(|(pattern, class)| ((*pattern).to_owned(), *class));
    let theirs = listed
        .into_iter()
        .filter(|listed| !NOT_MACHINES.contains(&listed.pattern.as_str()))
        .map(|listed| (class_of(&listed), listed.pattern))
        .map(|(class, pattern)| (pattern, class));
    for (pattern, class) in ours.chain(theirs) {
        builder = builder.push(&pattern).map_err(|error| format!("{pattern}: {error}"))?;
        classes.push(class);
    }
    Ok(Patterns { regexes: builder.build().map_err(|error| error.to_string())?, classes })
}

fn class_of(listed: &Listed) -> ClickClass {
    let tagged = |tag: &str| listed.tags.iter().any(|found| found == tag);
    if BULK.contains(&listed.pattern.as_str()) {
        ClickClass::Crawler
    } else if tagged("ai-crawler") {
        ClickClass::Agent
    } else if tagged("social-preview") {
        ClickClass::Preview
    } else if tagged("scanner") || tagged("monitoring") {
        ClickClass::Scanner
    } else if tagged("http-library") || tagged("browser-automation") {
        ClickClass::Tool
    } else {
        ClickClass::Crawler
    }
}

/// Entries of a worker's memory: a busy edge sees a few hundred user agents a minute.
const KNOWN_MAX: usize = 4096;
const CLASS_BITS: u64 = 0xf;

/// User agents classified before, by hash. Direct-mapped: a newcomer takes the place of another.
pub(crate) struct Known(Box<[u64]>);

impl Known {
    pub(crate) fn new() -> Self {
        Self(vec![0; KNOWN_MAX].into_boxed_slice())
    }

    /// The class of a user agent. `hash` is its keyed hash: without the key nobody can make two that clash.
    #[inline]
    pub(crate) fn class_of(&mut self, hash: u64, user_agent: &[u8]) -> ClickClass {
        let entry = &mut self.0[hash as usize % KNOWN_MAX];
        // 0 marks an empty entry, so a class is kept as its number plus one.
        if *entry & !CLASS_BITS == hash & !CLASS_BITS
            && let Some(class) =
                (*entry & CLASS_BITS).checked_sub(1).and_then(|class| ClickClass::from_u8(class as u8))
        {
            return class;
        }
        let class = classify(user_agent);
        *entry = hash & !CLASS_BITS | (class as u64 + 1);
        class
    }
}

#[cfg(test)]
#[path = "classes_tests.rs"]
mod tests;
