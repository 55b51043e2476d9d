//! People are people, whatever their app appends; machines are what they say they are.

use super::*;

const MACHINES: &[(&str, ClickClass)] = &[
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0; +https://openai.com/bot)",
        ClickClass::Agent,
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
        ClickClass::Agent,
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Claude-User/1.0; +Claude-User@anthropic.com)",
        ClickClass::Agent,
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Perplexity-User/1.0; +https://perplexity.ai/perplexity-user)",
        ClickClass::Agent,
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; MistralAI-User/1.0; +https://docs.mistral.ai/robots)",
        ClickClass::Agent,
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        ClickClass::Agent,
    ),
    ("claude-code/2.1.0 (cli)", ClickClass::Agent),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36; Manus-User/1.0",
        ClickClass::Agent,
    ),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", ClickClass::Crawler),
    (
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.7390.41 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        ClickClass::Crawler,
    ),
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", ClickClass::Crawler),
    ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", ClickClass::Crawler),
    ("CCBot/2.0 (https://commoncrawl.org/faq/)", ClickClass::Crawler),
    ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", ClickClass::Crawler),
    ("Mozilla/5.0 (compatible; BrandNewBot/0.1; +https://new.example/bot)", ClickClass::Crawler),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", ClickClass::Preview),
    ("Twitterbot/1.0", ClickClass::Preview),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", ClickClass::Preview),
    ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", ClickClass::Preview),
    ("TelegramBot (like TwitterBot)", ClickClass::Preview),
    ("WhatsApp/2.23.20.0", ClickClass::Preview),
    (
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        ClickClass::Preview,
    ),
    ("curl/8.5.0", ClickClass::Tool),
    ("Wget/1.21.4", ClickClass::Tool),
    ("python-requests/2.32.3", ClickClass::Tool),
    ("python-httpx/0.27.0", ClickClass::Tool),
    ("Python/3.12 aiohttp/3.9.5", ClickClass::Tool),
    ("node", ClickClass::Tool),
    ("undici", ClickClass::Tool),
    ("axios/1.7.2", ClickClass::Tool),
    ("Go-http-client/2.0", ClickClass::Tool),
    ("okhttp/4.12.0", ClickClass::Tool),
    ("Java/17.0.11", ClickClass::Tool),
    ("reqwest/0.12", ClickClass::Tool),
    ("PostmanRuntime/7.39.0", ClickClass::Tool),
    ("Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621.3672", ClickClass::Tool),
    ("MyShop/3 CFNetwork/1494.0.7 Darwin/23.4.0", ClickClass::Tool),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
        ClickClass::Tool,
    ),
    ("", ClickClass::Tool),
    ("Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)", ClickClass::Scanner),
    ("Mozilla/5.0 zgrab/0.x", ClickClass::Scanner),
    ("sqlmap/1.8.4#stable (https://sqlmap.org)", ClickClass::Scanner),
    ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", ClickClass::Scanner),
];

#[test]
fn people_are_people_whatever_their_app_appends() {
    let classes = Classes::built_in();
    let wrong: Vec<_> = people()
        .map(|user_agent| (classes.classify(user_agent.as_bytes()), user_agent))
        .filter(|(class, _)| *class != ClickClass::Human)
        .collect();
    assert_eq!(wrong, []);
    for app in [
        "Instagram",
        "FBAN",
        "FB_IAB",
        "musical_ly",
        "LinkedInApp",
        "MicroMessenger",
        "Line/",
        "Snapchat",
        "Pinterest",
    ] {
        assert!(people().any(|user_agent| user_agent.contains(app)), "no {app} among the people");
    }
}

#[test]
fn machines_are_what_they_say_they_are() {
    let classes = Classes::built_in();
    let wrong: Vec<_> = MACHINES
        .iter()
        .map(|(user_agent, expected)| (classes.classify(user_agent.as_bytes()), *expected, *user_agent))
        .filter(|(class, expected, _)| class != expected)
        .collect();
    assert_eq!(wrong, []);
}

#[test]
fn every_example_of_the_list_is_a_machine() {
    #[derive(serde::Deserialize)]
    struct Example {
        pattern: String,
        #[serde(default)]
        instances: Vec<String>,
    }
    let examples: Vec<Example> = serde_json::from_str(LIST).unwrap();
    let classes = Classes::built_in();
    let mut seen = 0;
    for example in examples.iter().filter(|example| !NOT_MACHINES.contains(&example.pattern.as_str())) {
        for instance in &example.instances {
            assert_ne!(classes.classify(instance.as_bytes()), ClickClass::Human, "{instance}");
            seen += 1;
        }
    }
    assert!(seen > 1000, "only {seen} examples");
}

#[test]
fn patterns_that_were_overruled_are_still_in_the_list() {
    let listed: Vec<Listed> = serde_json::from_str(LIST).unwrap();
    for pattern in NOT_MACHINES.iter().chain(BULK) {
        assert!(listed.iter().any(|listed| listed.pattern == *pattern), "{pattern} is no longer listed");
    }
}

#[test]
fn what_was_classified_before_is_remembered_per_hash() {
    let mut known = Known::new(Arc::new(Classes::built_in()));
    for round in 0..2 {
        for (i, (user_agent, class)) in MACHINES.iter().enumerate() {
            let hash = xxhash_rust::xxh3::xxh3_64_with_seed(user_agent.as_bytes(), 7);
            assert_eq!(known.class_of(hash, user_agent.as_bytes()), *class, "{round} {i}");
        }
    }
    // The second look does not need the text: that is what makes it cheap.
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(b"curl/8.5.0", 7);
    assert_eq!(known.class_of(hash, b"not looked at"), ClickClass::Tool);
}

#[test]
fn a_new_list_is_in_force_at_once_and_forgets_what_was_remembered() {
    let classes = Arc::new(Classes::built_in());
    let mut known = Known::new(Arc::clone(&classes));
    assert_eq!(known.class_of(99, b"NewBot/1.0"), ClickClass::Crawler);
    assert_eq!(known.class_of(98, b"ShopSeer"), ClickClass::Human);
    classes
        .replace(
            r#"[{"pattern":"ShopSeer","tags":["social-preview"]},{"pattern":"^NewBot/","class":"human"}]"#,
        )
        .unwrap();
    assert_eq!(known.class_of(98, b"ShopSeer"), ClickClass::Preview);
    assert_eq!(known.class_of(99, b"NewBot/1.0"), ClickClass::Human, "the operator's own word counts first");
    assert_eq!(known.class_of(97, b"Twitterbot"), ClickClass::Human, "the list before is gone");
}

#[test]
fn a_bad_list_is_refused_and_the_one_before_stays() {
    let classes = Classes::built_in();
    for (list, why) in [
        ("", "EOF"),
        ("[]", "empty"),
        ("{}", "expected a sequence"),
        (r#"[{"pattern":"("}]"#, "("),
        (r#"[{"pattern":"x","class":"duplicate"}]"#, "no user agent has the class"),
        (r#"[{"pattern":"x","class":"robot"}]"#, "no user agent has the class"),
        (r#"[{"pattern":"Instagram","tags":["social-preview"]}]"#, "a person for a machine"),
        (r#"[{"pattern":"Mozilla"}]"#, "a person for a machine"),
    ] {
        let error = classes.replace(list).unwrap_err();
        assert!(error.contains(why), "{list}: {error}");
        assert_eq!(classes.classify(b"curl/8.5.0"), ClickClass::Tool);
    }
    assert_eq!(classes.generation.load(Ordering::Acquire), 0);
}
