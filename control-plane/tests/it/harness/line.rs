//! A line to a server that can be cut: what a program sees when the server is gone and comes back.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// A line to Redis or any other server. Dropping it cuts it for good.
pub(crate) struct Line {
    url: Url,
    whole: watch::Sender<bool>,
}

impl Line {
    /// A line to the server of this URL, for the login in it.
    pub(crate) async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, state) = (server.clone(), state.clone());
                tokio::spawn(async move { pass_on(client, &server, state).await });
            }
        });
        Self { url, whole }
    }

    /// The URL of its near end.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Breaks every connection, and returns once they are broken; new ones break at once.
    pub(crate) async fn cut(&self) {
        self.whole.send(false).unwrap();
        // The listener listens on; every connection has a receiver of its own.
        while self.whole.receiver_count() > 1 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets new connections through again.
    pub(crate) fn mend(&self) {
        self.whole.send(true).unwrap();
    }
}

async fn pass_on(mut client: TcpStream, server: &str, mut state: watch::Receiver<bool>) {
    if !*state.borrow_and_update() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        // However it ends, both sides are closed.
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = state.changed() => {}
    }
}
