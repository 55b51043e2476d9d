//! People are people, whatever their app appends; machines are what they say they are.

use super::*;

const PEOPLE: &[&str] = &[
    // Browsers.
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 OPR/125.0.0.0",
    "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; U; Android 9; en-US; Redmi Note 5) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/78.0.3904.108 UCBrowser/13.4.0.1306 Mobile Safari/537.36",
    "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80 (S60; SymbOS; Opera Mobi/23.348; U; en) Presto/2.5.25 Version/10.54",
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/6.0 TV Safari/537.36",
    // A phone whose name has "bot" in it.
    "Mozilla/5.0 (Linux; Android 11; CUBOT KING KONG 5 Pro) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0.4280.141 Mobile Safari/537.36",
    // In-app browsers.
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F79 Instagram 334.0.4.32.98 (iPhone15,2; iOS 17_5; en_US; en; scale=3.00; 1179x2556; 603543543)",
    "Mozilla/5.0 (Linux; Android 13; Pixel 7 Build/TQ3A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/125.0.0.0 Mobile Safari/537.36 Instagram 333.0.0.42.91 Android (33/13; 420dpi; 1080x2168; Google/google; Pixel 7; panther; panther; en_US; 604247854)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/463.0.0.34.108;FBBV/595545417;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.4;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5]",
    "Mozilla/5.0 (Linux; Android 14; SM-A546B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/470.0.0.44.74;]",
    "Mozilla/5.0 (Linux; Android 14; SM-A546B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 [FB_IAB/Orca-Android;FBAV/465.0.0.38.107;]",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 MetaIAB Facebook",
    "Mozilla/5.0 (Linux; Android 12; SM-G991B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0.0.0 Mobile Safari/537.36 trill_320203 JsSdk/1.0 NetType/WIFI Channel/googleplay AppName/musical_ly app_version/32.2.3 ByteLocale/en BytedanceWebview/d8a21c6",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Snapchat/12.90.0.39 (like Safari/8617.1.17.10.9, panda)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Twitter for iPhone/10.43",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F79 [LinkedInApp]/9.29.5736",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F79 [Pinterest/iOS]",
    "Mozilla/5.0 (Linux; Android 14; Pixel 7; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 [Pinterest/Android]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/en",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari Line/14.9.0",
    "Mozilla/5.0 (Linux; Android 14; SM-S918N; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36;KAKAOTALK 2410730",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/323.0.645049893 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 NAVER(inapp; search; 2000; 12.7.1; 14PRO)",
    "Mozilla/5.0 (Linux; Android 13; 22101316G; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 Barcelona 336.0.0.35.90 Android",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.38.125 Chrome/124.0.6367.243 Electron/30.1.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) discord/1.0.9154 Chrome/124.0.6367.243 Electron/30.2.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Reddit/Version 2024.26.0/Build 614973",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 Telegram-Android/10.14.5 (Google Pixel 8; Android 14; SDK 34; HIGH)",
    "Mozilla/5.0 (Linux; arm_64; Android 14; SM-A356E) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.6367.221 YaBrowser/24.6.3.89.00 SA/3 Mobile Safari/537.36",
    // DuckDuckGo's and Brave's browsers are not their companies' crawlers.
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15",
    // Nobody knows it: a person.
    "SomethingNew/7.1",
];

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
    let wrong: Vec<_> = PEOPLE
        .iter()
        .map(|user_agent| (classify(user_agent.as_bytes()), *user_agent))
        .filter(|(class, _)| *class != ClickClass::Human)
        .collect();
    assert_eq!(wrong, []);
}

#[test]
fn machines_are_what_they_say_they_are() {
    let wrong: Vec<_> = MACHINES
        .iter()
        .map(|(user_agent, expected)| (classify(user_agent.as_bytes()), *expected, *user_agent))
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
    let mut seen = 0;
    for example in examples.iter().filter(|example| !NOT_MACHINES.contains(&example.pattern.as_str())) {
        for instance in &example.instances {
            assert_ne!(classify(instance.as_bytes()), ClickClass::Human, "{instance}");
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
    let mut known = Known::new();
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
