//! Whoever our programs call: an HTTP server that answers everybody alike, as it is told.

use anyhow::Context;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
struct Answer {
    status: u16,
    after: Duration,
    body: String,
}

/// The server. It runs until the process ends.
pub(super) struct Answers {
    /// Where it listens.
    pub(super) addr: SocketAddr,
    answer: Arc<Mutex<Answer>>,
}

impl Answers {
    /// Answers with this status.
    pub(super) async fn start(status: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let answer = Answer { status, after: Duration::ZERO, body: String::new() };
        let answers = Self { addr: listener.local_addr()?, answer: Arc::new(Mutex::new(answer)) };
        let answer = Arc::clone(&answers.answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // A connection that breaks is the other side's matter.
                tokio::spawn(async move { serve(stream, answer).await.ok() });
            }
        });
        Ok(answers)
    }

    /// Answers so from now on.
    pub(super) fn now(&self, status: u16, after: Duration, body: &str) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) =
            Answer { status, after, body: body.to_owned() };
    }
}

async fn serve(mut stream: TcpStream, answer: Answer) -> std::io::Result<()> {
    let mut request = Vec::new();
    // Whole: head, and as much body as it says.
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            break;
        }
    }
    tokio::time::sleep(answer.after).await;
    let head = format!(
        "HTTP/1.1 {} Told\r\nContent-Type: application/http-message-signatures-directory+json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.body.len()
    );
    stream.write_all((head + &answer.body).as_bytes()).await
}
