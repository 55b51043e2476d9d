//! A name server of one test: answers over UDP what the test has set, and that there is nothing else.

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, TXT};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What a name has.
#[derive(Clone, Default)]
struct Name {
    texts: Vec<String>,
    address: Option<Ipv4Addr>,
    /// Its servers fail.
    fails: bool,
}

/// A running name server; dropping it stops it.
pub(crate) struct NameServer {
    pub(crate) addr: SocketAddr,
    names: Arc<Mutex<HashMap<String, Name>>>,
    asked: Arc<Mutex<usize>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let names = Arc::<Mutex<HashMap<String, Name>>>::default();
        let asked = Arc::<Mutex<usize>>::default();
        let (known, counted) = (names.clone(), asked.clone());
        let serving = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
                let Ok(question) = Message::from_vec(&buffer[..len]) else { continue };
                *counted.lock().unwrap() += 1;
                let answer = answer(&question, &known.lock().unwrap());
                socket.send_to(&answer.to_vec().unwrap(), from).await.ok();
            }
        });
        Self { addr, names, asked, serving }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Name)) {
        change(self.names.lock().unwrap().entry(format!("{name}.")).or_default());
    }

    /// Gives a name this TXT record.
    pub(crate) fn set_text(&self, name: &str, text: &str) {
        self.change(name, |name| name.texts = vec![text.to_owned()]);
    }

    /// Takes its TXT records away.
    pub(crate) fn no_text(&self, name: &str) {
        self.change(name, |name| name.texts.clear());
    }

    /// Gives a name the loopback's address.
    pub(crate) fn set_address(&self, name: &str) {
        self.change(name, |name| name.address = Some(Ipv4Addr::LOCALHOST));
    }

    /// Lets the servers of a name fail, or work again.
    pub(crate) fn set_failing(&self, name: &str, fails: bool) {
        self.change(name, |name| name.fails = fails);
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn answer(question: &Message, names: &HashMap<String, Name>) -> Message {
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    let Some(query) = question.queries.first() else { return answer };
    answer.add_query(query.clone());
    let asked = query.name().to_ascii().to_ascii_lowercase();
    let Some(name) = names.get(&asked) else {
        answer.metadata.response_code = ResponseCode::NXDomain;
        return answer;
    };
    if name.fails {
        answer.metadata.response_code = ResponseCode::ServFail;
        return answer;
    }
    let record = |data| Record::from_rdata(query.name().clone(), 60, data);
    match query.query_type() {
        RecordType::TXT => {
            for text in &name.texts {
                answer.add_answer(record(RData::TXT(TXT::new(vec![text.clone()]))));
            }
        }
        RecordType::A => {
            if let Some(address) = name.address {
                answer.add_answer(record(RData::A(A(address))));
            }
        }
        _ => {}
    }
    answer
}
