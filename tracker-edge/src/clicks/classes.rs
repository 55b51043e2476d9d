//! What made a click, told by its user agent.
//!
//! The names come from the `crawler-user-agents` list (`data/`, MIT licence), each with tags; the tables
//! below add what the list lacks and overrule where it would take a person for a machine. A user agent
//! nobody knows is a person: calling a person a machine costs an affiliate money, the other way round
//! costs an advertiser a fraction of a cent.
//!
//! Classifying takes microseconds, so every worker remembers what it has classified in [`Known`]: the
//! hot path is one look into a small table.
//!
//! An operator may put a newer list in the place of the built-in one while the edge runs
//! ([`Classes::load`]); besides what the published list has, an entry may say its `class` itself, `human`
//! included, which then counts before everything else. A list that cannot be read, or that takes one of
//! the known people of `data/people.txt` for a machine, is refused and the one before stays.

use arc_swap::ArcSwap;
use regex_filtered::{Builder, Regexes};
use shared::ClickClass;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The list, as published. Replace the file to update it; the tests tell what changed for us.
const LIST: &str = include_str!("../../data/crawler-user-agents.json");
/// User agents of people, a line each: what no list may take for a machine.
const PEOPLE: &str = include_str!("../../data/people.txt");
/// Bytes of an operator's list at most; the built-in one has half a million.
const LIST_LEN_MAX: u64 = 16 << 20;

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
    /// An operator's own word.
    #[serde(default)]
    class: Option<String>,
}

/// The patterns, compiled, and the class of each, with how much it counts.
struct Patterns {
    regexes: Regexes,
    classes: Vec<(u8, ClickClass)>,
}

/// The patterns in force; shared by all workers.
pub(crate) struct Classes {
    patterns: ArcSwap<Patterns>,
    /// Grows when they change, so that workers forget what they remember.
    generation: AtomicU64,
}

impl Classes {
    /// Those of the built-in list.
    pub(crate) fn built_in() -> Self {
        let patterns = compile(LIST).expect("the list in data/ is tested");
        Self { patterns: ArcSwap::from_pointee(patterns), generation: AtomicU64::new(0) }
    }

    /// The class of a user agent.
    pub(crate) fn classify(&self, user_agent: &[u8]) -> ClickClass {
        classify(&self.patterns.load(), user_agent)
    }

    /// Puts an operator's list in force.
    pub(crate) fn load(&self, path: &Path) -> Result<String, String> {
        let len = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        if len > LIST_LEN_MAX {
            return Err(format!("{len} bytes are more than a list of {LIST_LEN_MAX}"));
        }
        self.replace(&std::fs::read_to_string(path).map_err(|error| error.to_string())?)
    }

    fn replace(&self, list: &str) -> Result<String, String> {
        let patterns = compile(list)?;
        let mistaken =
            people().find(|user_agent| classify(&patterns, user_agent.as_bytes()) != ClickClass::Human);
        if let Some(user_agent) = mistaken {
            return Err(format!("the list takes a person for a machine: {user_agent}"));
        }
        let found = format!("{} patterns of user agents", patterns.classes.len());
        self.patterns.store(Arc::new(patterns));
        // Afterwards: who sees the new number finds the new patterns.
        self.generation.fetch_add(1, Ordering::Release);
        Ok(found)
    }
}

/// User agents of people.
fn people() -> impl Iterator<Item = &'static str> {
    PEOPLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn classify(patterns: &Patterns, user_agent: &[u8]) -> ClickClass {
    // Browsers always send one: what does not is a script.
    if user_agent.is_empty() {
        return ClickClass::Tool;
    }
    let text = String::from_utf8_lossy(user_agent);
    let matches = patterns.regexes.matching(&text).filter_map(|(index, _)| patterns.classes.get(index));
    matches.max_by_key(|(rank, _)| *rank).map_or(ClickClass::Human, |(_, class)| *class)
}

/// What an entry's own `class` counts: more than any tag.
const OWN_WORD: u8 = 10;

fn compile(list: &str) -> Result<Patterns, String> {
    let listed: Vec<Listed> = serde_json::from_str(list).map_err(|error| error.to_string())?;
    if listed.is_empty() {
        return Err("the list is empty".to_owned());
    }
    let mut builder = Builder::new();
    let mut classes = Vec::with_capacity(OURS.len() + listed.len());
    for (pattern, class) in OURS {
        builder = builder.push(pattern).map_err(|error| format!("{pattern}: {error}"))?;
        classes.push((rank(*class), *class));
    }
    for listed in listed {
        let counts = match &listed.class {
            Some(name) => {
                let class = ClickClass::from_name(name).filter(|class| is_of_user_agents(*class));
                (
                    OWN_WORD,
                    class
                        .ok_or_else(|| format!("{}: no user agent has the class {name:?}", listed.pattern))?,
                )
            }
            None if NOT_MACHINES.contains(&listed.pattern.as_str()) => continue,
            None => {
                let class = class_of(&listed);
                (rank(class), class)
            }
        };
        builder = builder.push(&listed.pattern).map_err(|error| format!("{}: {error}", listed.pattern))?;
        classes.push(counts);
    }
    Ok(Patterns { regexes: builder.build().map_err(|error| error.to_string())?, classes })
}

/// Whether a user agent alone can have the class.
const fn is_of_user_agents(class: ClickClass) -> bool {
    !matches!(class, ClickClass::AgentVerified | ClickClass::Prefetch | ClickClass::Duplicate)
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

/// Places a user agent may have: with one, two busy ones would push each other out for ever.
const WAYS: usize = 2;

/// User agents classified before, by hash: a newcomer takes the place of the older of two.
pub(crate) struct Known {
    entries: Box<[u64]>,
    classes: Arc<Classes>,
    generation: u64,
}

impl Known {
    pub(crate) fn new(classes: Arc<Classes>) -> Self {
        let generation = classes.generation.load(Ordering::Acquire);
        Self { entries: vec![0; KNOWN_MAX].into_boxed_slice(), classes, generation }
    }

    /// The class of a user agent. `hash` is its keyed hash: without the key nobody can make two that clash.
    #[inline]
    pub(crate) fn class_of(&mut self, hash: u64, user_agent: &[u8]) -> ClickClass {
        let generation = self.classes.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.entries.fill(0);
            self.generation = generation;
        }
        let first = hash as usize % (KNOWN_MAX / WAYS) * WAYS;
        let Some([newer, older]) = self.entries.get_mut(first..first + WAYS) else {
            return self.classes.classify(user_agent);
        };
        for entry in [&*newer, &*older] {
            // 0 marks an empty entry, so a class is kept as its number plus one.
            if *entry & !CLASS_BITS == hash & !CLASS_BITS
                && let Some(class) =
                    (*entry & CLASS_BITS).checked_sub(1).and_then(|class| ClickClass::from_u8(class as u8))
            {
                return class;
            }
        }
        let class = self.classes.classify(user_agent);
        *older = std::mem::replace(newer, hash & !CLASS_BITS | (class as u64 + 1));
        class
    }
}

#[cfg(test)]
#[path = "classes_tests.rs"]
mod tests;
