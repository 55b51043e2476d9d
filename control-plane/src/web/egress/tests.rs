//! Hostile URLs and resolvers against the real client; the network records who would have been dialled.

use super::*;
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const HOSTILE: &str = include_str!("hostile.txt");
const DEADLINE: Duration = Duration::from_secs(5);

/// Answers names from a list, a further answer for each further question, and records every dial.
#[derive(Default)]
struct Scripted {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    dialled: Mutex<Vec<SocketAddr>>,
    /// Where a dial really goes.
    server: Option<SocketAddr>,
}

impl Scripted {
    fn answering(answers: &[(&str, &[&[&str]])]) -> Self {
        let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers = answers
            .iter()
            .map(|(name, turns)| ((*name).to_owned(), turns.iter().map(parse).collect()))
            .collect();
        Self { answers: Mutex::new(answers), ..Self::default() }
    }

    fn dialled(&self) -> Vec<SocketAddr> {
        self.dialled.lock().unwrap().clone()
    }
}

impl Network for Scripted {
    fn resolve(&self, name: String) -> Boxed<io::Result<Vec<IpAddr>>> {
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.get_mut(&name) {
            Some(turns) if turns.len() > 1 => Ok(turns.remove(0)),
            Some(turns) => Ok(turns[0].clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        Box::pin(async move { answer })
    }

    fn dial(&self, addr: SocketAddr) -> Boxed<io::Result<TcpStream>> {
        self.dialled.lock().unwrap().push(addr);
        match self.server {
            Some(server) => Box::pin(TcpStream::connect(server)),
            None => Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }),
        }
    }
}

fn egress(network: Scripted, allowed: &[&str]) -> (Egress, Arc<Scripted>) {
    let network = Arc::new(network);
    let policy = Policy::new(allowed.iter().map(|network| network.parse().unwrap()).collect());
    (Egress::with_network(policy, network.clone()).unwrap(), network)
}

async fn post(egress: &Egress, url: &str) -> Result<Answer, Failure> {
    egress.post(url, HeaderMap::new(), Bytes::from_static(b"{}"), DEADLINE).await
}

/// A server that answers every connection with these bytes, then keeps it open.
async fn serve(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer).await.unwrap();
                std::future::pending::<()>().await;
            });
        }
    });
    addr
}

#[tokio::test]
async fn f79_two_hundred_hostile_urls_reach_nobody() {
    let lines: Vec<_> = HOSTILE.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() >= 200, "{}", lines.len());
    let (egress, network) = egress(Scripted::default(), &[]);
    for line in lines {
        let (url, ips) = line.split_once(" = ").unwrap_or((line, ""));
        let url = url.replace("\\t", "\t");
        let ips: Vec<IpAddr> = ips.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        if let Some(name) = Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned)) {
            network.answers.lock().unwrap().insert(name, vec![ips]);
        }
        assert!(egress.check(&url, DEADLINE).await.is_err(), "{line} could be saved");
        assert!(matches!(post(&egress, &url).await, Err(Failure::Refused(_))), "{line} was called");
        assert_eq!(network.dialled(), [], "{line}");
    }
}

#[tokio::test]
async fn f79_a_name_that_changes_its_mind_is_judged_at_each_connect() {
    let answers: &[&[&str]] = &[&["8.8.8.8"], &["169.254.169.254"], &["8.8.8.8"], &["::1"]];
    let (egress, network) = egress(Scripted::answering(&[("rebind.example", answers)]), &[]);
    assert!(egress.check("http://rebind.example/hook", DEADLINE).await.is_ok());
    let refused = Err(Failure::Refused(Refusal::Address));
    assert_eq!(post(&egress, "http://rebind.example/hook").await, refused);
    // Public this time: dialled at exactly the address that was judged, though the name has moved on.
    assert_eq!(post(&egress, "http://rebind.example/hook").await, Err(Failure::NoConnection));
    assert_eq!(post(&egress, "http://rebind.example/hook").await, refused);
    assert_eq!(network.dialled(), ["8.8.8.8:80".parse().unwrap()]);
}

#[tokio::test]
async fn public_urls_pass_and_the_operators_list_opens_more() {
    let names = Scripted::answering(&[("hooks.example", &[&["8.8.8.8", "2001:4860:4860::8888"]])]);
    let (open, network) = egress(names, &[]);
    for url in ["https://hooks.example/a?b=c#d", "http://8.8.8.8/", "https://[2001:4860:4860::8888]/"] {
        assert!(open.check(url, DEADLINE).await.is_ok(), "{url}");
        assert_eq!(post(&open, url).await, Err(Failure::NoConnection), "{url}");
    }
    assert_eq!(network.dialled()[0], "8.8.8.8:443".parse().unwrap());
    assert_eq!(network.dialled()[1], "[2001:4860:4860::8888]:443".parse().unwrap());
    assert!(open.check("http://unknown.example/", DEADLINE).await.is_ok(), "a name may come later");
    let (open, _) = egress(Scripted::default(), &["127.0.0.0/8", "fd00::/8"]);
    for url in
        ["http://127.0.0.1:9000/", "http://127.2:1/", "http://[::ffff:127.0.0.1]:5/", "http://[fd00::1]:8/"]
    {
        assert!(open.check(url, DEADLINE).await.is_ok(), "{url}");
    }
    for url in ["http://[::1]/", "http://10.0.0.1/", "http://169.254.169.254/"] {
        assert_eq!(open.check(url, DEADLINE).await, Err(Refusal::Address), "{url}");
    }
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let server = serve(
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let (egress, network) = egress(Scripted { server: Some(server), ..Scripted::default() }, &[]);
    let answer = post(&egress, "http://8.8.8.8/hook").await.unwrap();
    assert_eq!(answer, Answer { status: StatusCode::FOUND, retry_after: Some("7".to_owned()) });
    assert_eq!(network.dialled().len(), 1);
}

#[tokio::test]
async fn f77_drips_end_at_the_deadline_and_bodies_after_a_second() {
    let scripted = |server| Scripted { server: Some(server), ..Scripted::default() };
    let silent = serve(b"HTTP/1.1 20").await;
    let (client, _) = egress(scripted(silent), &[]);
    let started = std::time::Instant::now();
    let deadline = Duration::from_millis(300);
    let silence = client.post("http://8.8.8.8/", HeaderMap::new(), Bytes::new(), deadline).await;
    assert_eq!(silence, Err(Failure::TimedOut));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let endless = serve(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let (client, _) = egress(scripted(endless), &[]);
    let started = std::time::Instant::now();
    assert_eq!(post(&client, "http://8.8.8.8/").await.unwrap().status, StatusCode::OK);
    assert!(started.elapsed() < BODY_FOR * 2, "{:?}", started.elapsed());
    let garbage = serve(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let (client, _) = egress(scripted(garbage), &[]);
    assert_eq!(post(&client, "http://8.8.8.8/").await, Err(Failure::NoAnswer));
}

#[tokio::test]
async fn f78_no_more_than_sixteen_kilobytes_are_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let sending = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        // A gzip bomb would look like this: nothing here unpacks it.
        let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let chunk = [b"4000\r\n".as_slice(), &[0; 0x4000], b"\r\n"].concat();
        let mut sent = 0u64;
        while stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len() as u64;
            assert!(sent < 10 << 30, "ten gigabytes were taken");
        }
        sent
    });
    let (client, _) = egress(Scripted { server: Some(server), ..Scripted::default() }, &[]);
    assert_eq!(post(&client, "http://8.8.8.8/").await.unwrap().status, StatusCode::OK);
    // What the kernel's buffers on both sides took counts too, so the bound is theirs.
    let sent = sending.await.unwrap();
    assert!(sent < 16 << 20, "{sent} bytes were taken");
}
